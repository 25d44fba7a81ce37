//! A command: started without a shell, with the notification as JSON on its standard input.

use super::Outcome;
use std::{process::Stdio, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

/// So much of what it says on its standard error is told, in bytes.
const TOLD: u64 = 2 << 10;

/// Runs it.
pub(super) async fn run(command: &[String], id: &str, json: &str, timeout: Duration) -> Outcome {
    let Some((program, arguments)) = command.split_first() else {
        return Outcome::Never { problem: "there is no command".to_owned() };
    };
    let started = Command::new(program)
        .args(arguments)
        .env("MILLRACE_NOTIFICATION_ID", id)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    match started {
        Ok(child) => match tokio::time::timeout(timeout, talk(child, json)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::later(format!("{program} did not end within {timeout:?}")),
        },
        Err(error) => Outcome::later(format!("{program} cannot be started: {error}")),
    }
}

async fn talk(mut child: Child, json: &str) -> Outcome {
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A command that does not want to hear it has its reasons; how it ends counts.
            drop(stdin.write_all(json.as_bytes()).await);
        }
    };
    let read = async {
        let mut said = Vec::new();
        if let Some(stderr) = stderr {
            let mut bounded = stderr.take(TOLD);
            drop(bounded.read_to_end(&mut said).await);
            // The rest goes nowhere, but the command must be able to say it.
            drop(tokio::io::copy(&mut bounded.into_inner(), &mut tokio::io::sink()).await);
        }
        said
    };
    let ((), said, ended) = tokio::join!(write, read, child.wait());
    match ended {
        Ok(status) if status.success() => Outcome::Delivered,
        Ok(status) => {
            let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
            Outcome::later(if said.is_empty() { status.to_string() } else { format!("{status}: {said}") })
        }
        Err(error) => Outcome::later(error.to_string()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    async fn outcome(command: &[String]) -> Outcome {
        run(command, "a/1", "{\"a\":1}", Duration::from_secs(20)).await
    }

    #[tokio::test]
    async fn it_gets_the_notification_and_its_end_counts() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("said");
        let keeps = shell(&format!("cat > {0}; echo \" $MILLRACE_NOTIFICATION_ID\" >> {0}", file.display()));
        assert_eq!(outcome(&keeps).await, Outcome::Delivered);
        assert_eq!(std::fs::read_to_string(file).unwrap(), "{\"a\":1} a/1\n");
        assert_eq!(outcome(&shell("exit 0")).await, Outcome::Delivered, "it need not listen");
        let fails = outcome(&shell("yes trouble | head -c 100000 >&2; exit 3")).await;
        let Outcome::Later { problem, .. } = fails else { panic!("{fails:?}") };
        assert!(problem.contains("exit status: 3: trouble trouble") && problem.len() < 2_200, "{problem}");
        let missing = outcome(&["/no/such/command".to_owned()]).await;
        assert!(
            matches!(&missing, Outcome::Later { problem, .. } if problem.contains("cannot be started")),
            "{missing:?}"
        );
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended() {
        let hangs =
            run(&["/bin/sleep".to_owned(), "600".to_owned()], "a/1", "{}", Duration::from_millis(50)).await;
        assert!(
            matches!(&hangs, Outcome::Later { problem, .. } if problem.contains("did not end")),
            "{hangs:?}"
        );
    }
}
