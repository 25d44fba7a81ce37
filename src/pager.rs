//! Where what people read is written: to standard output, or through their pager where that is a terminal.

use std::{
    env,
    io::{self, BufWriter, IsTerminal, Write},
    process::{Child, Command, Stdio},
};

/// What text is written to. Ends when the reader has seen enough.
pub(crate) struct Screen {
    out: Option<Box<dyn Write>>,
    pager: Option<Child>,
}

impl Screen {
    /// Standard output, at once.
    pub(crate) fn plain() -> Self {
        Self { out: Some(Box::new(BufWriter::new(io::stdout()))), pager: None }
    }

    /// The pager of `MILLRACE_PAGER` or `PAGER`, or `less`, if standard output is a terminal; `cat` or nothing means none.
    pub(crate) fn paged() -> Self {
        let named = ["MILLRACE_PAGER", "PAGER"].into_iter().find_map(|name| env::var(name).ok());
        let command = named.unwrap_or_else(|| "less".to_owned());
        if !io::stdout().is_terminal() || command.trim().is_empty() || command.trim() == "cat" {
            return Self::plain();
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(&command).stdin(Stdio::piped());
        if env::var_os("LESS").is_none() {
            // As git does: short answers stay on the screen, colours are colours.
            shell.env("LESS", "FRX");
        }
        match shell.spawn() {
            Ok(mut pager) => match pager.stdin.take() {
                Some(input) => Self { out: Some(Box::new(BufWriter::new(input))), pager: Some(pager) },
                None => Self::plain(),
            },
            Err(_) => Self::plain(),
        }
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.as_mut().map_or(Ok(bytes.len()), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The pager sees the end of its input.
        drop(self.out.take());
        if let Some(pager) = &mut self.pager
            && let Err(error) = pager.wait()
        {
            eprintln!("the pager is lost: {error}");
        }
    }
}
