//! What sudo, cron and sshd write to the system's log. What sudo and cron run is a process that comes to be, so that rules
//! about processes see it where nobody audits system calls.

use super::{Said, program};
use crate::sigma::origin::{NO_CATEGORY, known};

/// `ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; COMMAND=/usr/bin/id -u`; before the first field may stand why not.
pub(super) fn sudo<'a>(line: &'a str, said: &mut Said<'a>) {
    let message = message(line, "sudo");
    let Some((head, command)) = message.split_once("COMMAND=") else { return };
    let Some((caller, head)) = head.split_once(" : ") else { return };
    let mut refused = false;
    for part in head.split(" ; ").map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some((name @ ("TTY" | "PWD" | "USER" | "GROUP" | "TSID" | "CHROOT"), value)) => {
                said.push(name, value);
            }
            Some(("ENV", _)) => {}
            _ => refused = true,
        }
    }
    let (user, folder) = (said.first("USER").cloned(), said.first("PWD").cloned());
    said.push("COMMAND", command);
    said.push("ParentUser", caller.trim());
    said.extend("User", user);
    said.extend("CurrentDirectory", folder);
    said.push("CommandLine", command);
    said.extend("Image", program(command));
    said.category = Some(if refused { NO_CATEGORY } else { "process_creation" });
}

/// `(root) CMD (/usr/local/bin/backup)`; other words than `CMD` are about crontabs.
pub(super) fn cron<'a>(line: &'a str, said: &mut Said<'a>) {
    let message = message(line, "cron");
    let Some((user, rest)) = message.strip_prefix('(').and_then(|rest| rest.split_once(") ")) else { return };
    said.push("User", user);
    if let Some(command) = rest.strip_prefix("CMD (") {
        let command = command.trim_end();
        let command = command.strip_suffix(')').unwrap_or(command).trim();
        said.push("CommandLine", command);
        said.extend("Image", program(command));
        said.category = Some("process_creation");
    }
}

/// Who logs in, or tries to, and from where. Names come from whoever tries: what stands last is sshd's.
pub(super) fn sshd<'a>(line: &'a str, said: &mut Said<'a>) {
    let message = message(line, "sshd");
    let pair = |name: &str| {
        let value = message.split_ascii_whitespace().find_map(|word| word.strip_prefix(name));
        value.filter(|value| !value.is_empty())
    };
    let (mut user, mut address, mut port) = (pair("user="), pair("rhost="), None);
    if let Some((head, tail)) = message.rsplit_once(" from ") {
        let mut words = tail.split_ascii_whitespace();
        address = words.next().map(|word| word.trim_end_matches(':'));
        port = (words.next() == Some("port")).then(|| words.next()).flatten();
        let tried =
            head.split_once(" for ").map(|(_, name)| name.strip_prefix("invalid user ").unwrap_or(name));
        user = tried.or_else(|| head.strip_prefix("Invalid user "));
    }
    for (names, value) in [
        (&["User"][..], user),
        (&["SourceIp", "src_ip"], address),
        (&["SourcePort", "src_port"], port.map(|port| port.trim_end_matches(':'))),
    ] {
        for name in names {
            said.extend(name, value);
        }
    }
}

/// The message behind the program's name, if the line has that in front of it.
fn message<'a>(line: &'a str, service: &str) -> &'a str {
    let head = &line[..line.floor_char_boundary(160)];
    match head.find(": ") {
        Some(at) if head[..at].rsplit(' ').next().and_then(known) == Some(service) => {
            line[at + 2..].trim_start()
        }
        _ if line.starts_with('<') => framed(line).unwrap_or(line),
        _ => line,
    }
}

/// The message of a line as RFC 5424 has it.
fn framed(line: &str) -> Option<&str> {
    let data = line.splitn(7, ' ').nth(6)?;
    let message = match data.strip_prefix("- ") {
        Some(message) => message,
        None => &data[data.find("] ")? + 2..],
    };
    Some(message.trim_start_matches('\u{feff}').trim_start())
}
