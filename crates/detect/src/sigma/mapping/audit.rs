//! Records of Linux's audit system: `type=SYSCALL msg=audit(1364481363.243:24287): arch=c000003e … exe="/usr/bin/cat"`.
//!
//! An event is several lines of one id: its system call, what was executed, from where, which files. A record that holds
//! them all, one line each, as `multiline = "audit"` makes them, is read as one event: then a process has both its image
//! and its command line. A line alone says what it says. Lines of another id in the same record are another event's and
//! say nothing.
//!
//! What the kernel could not trust it writes as hexadecimal digits; that is undone here.

use super::Said;
use crate::sigma::origin::NO_CATEGORY as OTHER;
use std::{borrow::Cow, net::IpAddr};

/// Numeric types that mean something here; the kernel's own log has no names.
const TYPES: [(&str, &str); 11] = [
    ("1100", "USER_AUTH"),
    ("1112", "USER_LOGIN"),
    ("1123", "USER_CMD"),
    ("1300", "SYSCALL"),
    ("1302", "PATH"),
    ("1305", "CONFIG_CHANGE"),
    ("1306", "SOCKADDR"),
    ("1307", "CWD"),
    ("1309", "EXECVE"),
    ("1327", "PROCTITLE"),
    ("1400", "AVC"),
];

/// System calls whose names rules use, or that say what kind of event it is: number on x86-64, on `AArch64`, name.
const CALLS: [(&str, &str, &str); 34] = [
    ("2", "", "open"),
    ("16", "29", "ioctl"),
    ("42", "203", "connect"),
    ("49", "200", "bind"),
    ("56", "220", "clone"),
    ("59", "221", "execve"),
    ("76", "45", "truncate"),
    ("82", "", "rename"),
    ("83", "", "mkdir"),
    ("85", "", "creat"),
    ("86", "", "link"),
    ("87", "", "unlink"),
    ("88", "", "symlink"),
    ("90", "", "chmod"),
    ("92", "", "chown"),
    ("101", "117", "ptrace"),
    ("103", "116", "syslog"),
    ("105", "146", "setuid"),
    ("133", "", "mknod"),
    ("135", "92", "personality"),
    ("157", "167", "prctl"),
    ("165", "40", "mount"),
    ("175", "105", "init_module"),
    ("176", "106", "delete_module"),
    ("188", "5", "setxattr"),
    ("257", "56", "openat"),
    ("259", "33", "mknodat"),
    ("264", "38", "renameat"),
    ("310", "270", "process_vm_readv"),
    ("313", "273", "finit_module"),
    ("316", "276", "renameat2"),
    ("319", "279", "memfd_create"),
    ("321", "280", "bpf"),
    ("322", "281", "execveat"),
];

/// System calls that make or change files.
const FILES: [&str; 15] = [
    "open",
    "openat",
    "creat",
    "truncate",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "link",
    "symlink",
    "chmod",
    "chown",
    "mknod",
    "mknodat",
    "setxattr",
];
/// The bits of `open`'s flags with which a file is written to.
const WRITING: u64 = 3;

/// The categories that an event may be of.
const PROCESS: &str = "process_creation";
const FILE: &str = "file_event";
const NETWORK: &str = "network_connection";

/// Is it a line of the audit system?
pub(in crate::sigma) fn is_record(line: &str) -> bool {
    (line.starts_with("type=") || line.starts_with("node=")) && line.contains("msg=audit(")
}

/// What is told of an event by several of its lines.
#[derive(Default)]
struct Event<'a> {
    call: Option<Cow<'a, str>>,
    /// Does it write to the files that it opens?
    writes: bool,
    failed: bool,
    image: Option<Cow<'a, str>>,
    /// Arguments of what was executed: number, text.
    arguments: Vec<(usize, Cow<'a, str>)>,
    /// Files that came to be, and files that were there.
    made: Vec<Cow<'a, str>>,
    used: Vec<Cow<'a, str>>,
    /// An address and a port.
    address: Option<(String, String)>,
    /// A command that a program such as sudo reports.
    command: Option<Cow<'a, str>>,
}

/// Reads the lines of one event.
pub(super) fn read<'a>(text: &'a str, said: &mut Said<'a>) {
    let mut event = Event::default();
    let mut id = None;
    for line in text.lines() {
        if let Some((kind, this, rest)) = head(line)
            && *id.get_or_insert(this) == this
        {
            said.push("type", kind);
            let from = said.fields.len();
            pairs(rest, &mut |name, value, quoted| {
                if quoted {
                    said.push(name, value);
                } else if !matches!(value, "(null)" | "(none)" | "?") {
                    said.push(
                        name,
                        if is_encoded(kind, name) { decoded(value) } else { Cow::Borrowed(value) },
                    );
                }
            });
            event.take(kind, &said.fields[from..]);
        }
    }
    if id.is_some() {
        said.decoded = true;
        event.tell(said);
    }
}

/// The type of a line, its event's id, and what comes after.
fn head(line: &str) -> Option<(&str, &str, &str)> {
    let Some((before, after)) = line.split_once("audit(") else {
        // As journald hands on what it takes from the kernel: the type alone; the id is a field of the entry.
        let (kind, rest) = line.split_once(' ')?;
        let is_type = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        return (kind.len() > 2 && kind.bytes().all(is_type)).then_some((kind, "", rest));
    };
    let (id, rest) = after.split_once(')')?;
    let (_, kind) = before.rsplit_once("type=")?;
    let kind = kind.split(' ').next()?;
    let kind = TYPES.iter().find(|(number, _)| *number == kind).map_or(kind, |(_, name)| name);
    Some((kind, id, rest.strip_prefix(':').unwrap_or(rest)))
}

impl<'a> Event<'a> {
    /// Takes in one line: its type, its fields.
    fn take(&mut self, kind: &str, fields: &[(&'a str, Cow<'a, str>)]) {
        let field = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
        match kind {
            "SYSCALL" => {
                self.call = field("SYSCALL").cloned().or_else(|| {
                    let number = field("syscall")?;
                    let numbered = |call: &&(&str, &str, &str)| match field("arch").map(|arch| &**arch) {
                        Some("c000003e") => number == call.0,
                        Some("c00000b7") => number == call.1,
                        _ => false,
                    };
                    CALLS.iter().find(numbered).map(|(_, _, name)| Cow::Borrowed(*name))
                });
                let flags = match self.call.as_deref() {
                    Some("open") => field("a1"),
                    Some("openat") => field("a2"),
                    _ => None,
                };
                let flags = flags.and_then(|flags| u64::from_str_radix(flags, 16).ok());
                self.writes = flags.is_none_or(|flags| flags & WRITING != 0);
                self.failed = field("success").is_some_and(|success| success == "no");
                self.image = field("exe").cloned();
            }
            "EXECVE" => self
                .arguments
                .extend(fields.iter().filter_map(|(name, value)| Some((argument(name)?, value.clone())))),
            "PATH" => match (field("nametype").map(|kind| &**kind), field("name")) {
                (Some("CREATE"), Some(name)) => self.made.push(name.clone()),
                (Some("NORMAL"), Some(name)) => self.used.push(name.clone()),
                _ => {}
            },
            "SOCKADDR" => self.address = field("saddr").and_then(|address| socket(address)),
            "USER_CMD" => {
                self.command = field("cmd").cloned();
                self.failed = field("res").is_some_and(|result| result == "failed");
            }
            _ => {}
        }
    }

    /// Says what kind of event it is, and its fields under Sigma's names.
    fn tell(mut self, said: &mut Said<'a>) {
        let call = self.call.as_deref();
        let executes = matches!(call, Some("execve" | "execveat"));
        said.category = Some(match () {
            () if self.failed => OTHER,
            () if executes || !self.arguments.is_empty() || self.command.is_some() => PROCESS,
            () if call == Some("connect") => NETWORK,
            () if call.is_none() && !self.made.is_empty() => FILE,
            () if call.is_some_and(|call| FILES.contains(&call)) => FILE,
            () => OTHER,
        });
        if !said.has("SYSCALL")
            && let Some(call) = &self.call
        {
            said.push("SYSCALL", call.clone());
        }
        if let Some(command) = self.command {
            // Whoever reports it has an image of its own, which is the parent's.
            let parent = said.first("exe").cloned();
            said.extend("ParentImage", parent);
            said.push("CommandLine", command);
        } else {
            if !self.arguments.is_empty() {
                self.arguments.sort_by_key(|(place, _)| *place);
                let image = self.image.take().or_else(|| {
                    self.arguments
                        .first()
                        .map(|(_, first)| first)
                        .filter(|first| first.starts_with('/'))
                        .cloned()
                });
                self.image = image;
                said.push("CommandLine", joined(&self.arguments));
            }
            said.extend("Image", self.image);
        }
        if said.category == Some(FILE) {
            let changed = if self.writes { self.used } else { Vec::new() };
            said.extend("TargetFilename", self.made.into_iter().chain(changed));
        }
        if said.category == Some(NETWORK)
            && let Some((address, port)) = self.address
        {
            said.push("DestinationIp", address);
            said.push("DestinationPort", port);
            said.push("Initiated", "true");
        }
        for (ours, theirs) in [
            ("ProcessId", "pid"),
            ("ParentProcessId", "ppid"),
            ("CurrentDirectory", "cwd"),
            ("LogonId", "ses"),
        ] {
            let value = said.first(theirs).cloned();
            said.extend(ours, value);
        }
        let user = said.first("UID").or_else(|| said.first("uid")).cloned();
        said.extend("User", user.map(|user| if user == "0" { "root".into() } else { user }));
    }
}

/// Arguments with blanks between them; pieces of a long one belong together.
fn joined(arguments: &[(usize, Cow<'_, str>)]) -> String {
    let mut line = String::new();
    let mut before = None;
    for (place, text) in arguments {
        if before.is_some_and(|before| before != place) {
            line.push(' ');
        }
        line.push_str(text);
        before = Some(place);
    }
    line
}

/// The number of an argument: `a3`, or `a3[0]` for a piece of it.
fn argument(name: &str) -> Option<usize> {
    let number = name.strip_prefix('a')?;
    number.split_once('[').map_or(number, |(number, _)| number).parse().ok()
}

/// Does the kernel write this field as digits where it does not trust it?
fn is_encoded(kind: &str, name: &str) -> bool {
    let always =
        ["exe", "comm", "name", "cwd", "proctitle", "path", "dir", "key", "acct", "cmd", "data", "ocomm"];
    kind == "EXECVE" && argument(name).is_some() || always.contains(&name)
}

/// Text that may be spelled as hexadecimal digits. Zero bytes, which part arguments, become blanks.
fn decoded(text: &str) -> Cow<'_, str> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.bytes().all(is_digit) {
        return Cow::Borrowed(text);
    }
    let pairs = text.as_bytes().chunks_exact(2);
    let bytes = pairs.filter_map(|pair| match pair {
        [high, low] => Some((digit(high)? * 16 + digit(low)?) as u8),
        _ => None,
    });
    let bytes: Vec<u8> = bytes.map(|byte| if byte == 0 { b' ' } else { byte }).collect();
    Cow::Owned(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// Address and port of a socket's address in hexadecimal digits, as Linux keeps it on a little-endian machine.
fn socket(text: &str) -> Option<(String, String)> {
    let byte = |at: usize| u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok();
    let bytes = |range: std::ops::Range<usize>| range.map(byte).collect::<Option<Vec<u8>>>();
    let port = u16::from_be_bytes([byte(2)?, byte(3)?]).to_string();
    let address: IpAddr = match (byte(0)?, byte(1)?) {
        (2, 0) => <[u8; 4]>::try_from(bytes(4..8)?).ok()?.into(),
        (10, 0) => <[u8; 16]>::try_from(bytes(8..24)?).ok()?.into(),
        _ => return None,
    };
    Some((address.to_string(), port))
}

/// Calls `take` with name, value and whether it was quoted, for each pair; what stands inside `msg='…'` is pairs, too.
/// Words that are no pairs are passed over.
fn pairs<'a>(text: &'a str, take: &mut impl FnMut(&'a str, &'a str, bool)) {
    match text.find("='").map(|at| (at + 2, text.rfind('\'').unwrap_or(text.len()))) {
        Some((from, to)) if from <= to => {
            let before = text[..from - 2].rfind([' ', '\u{1d}']).map_or("", |end| &text[..end]);
            for part in [before, &text[from..to], &text[to..]] {
                plain_pairs(part, take);
            }
        }
        _ => plain_pairs(text, take),
    }
}

/// The same, without pairs inside of pairs.
fn plain_pairs<'a>(text: &'a str, take: &mut impl FnMut(&'a str, &'a str, bool)) {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\u{1d}', '\t', '\'']);
        let Some(end) = rest.find(['=', ' ', '\u{1d}']) else { return };
        if !rest[end..].starts_with('=') {
            rest = &rest[end..];
            continue;
        }
        let (name, after) = (&rest[..end], &rest[end + 1..]);
        if let Some(inner) = after.strip_prefix('"') {
            let end = inner.find('"').unwrap_or(inner.len());
            take(name, &inner[..end], true);
            rest = inner[end..].strip_prefix('"').unwrap_or_default();
        } else {
            let end = after.find([' ', '\u{1d}']).unwrap_or(after.len());
            take(name, after[..end].trim_end_matches(','), false);
            rest = &after[end..];
        }
    }
}
