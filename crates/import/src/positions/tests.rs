#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("millrace-import-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

fn position(path: &str, inode: u64, device: u64, position: u64) -> Position {
    let number = |number: u64| (number > 0).then_some(number);
    let path = (!path.is_empty()).then(|| path.into());
    Position { path, inode: number(inode), device: number(device), position }
}

#[test]
fn filebeats_log_is_replayed_over_its_checkpoint() {
    let folder = Folder::new("filebeat");
    folder.write("filebeat/meta.json", r#"{"version":"1"}"#);
    folder.write(
        "filebeat/7.json",
        r#"[{"_key":"filebeat::logs::native::11-64","source":"/var/log/a","offset":10,"FileStateOS":{"inode":11,"device":64}},
            {"_key":"filebeat::logs::native::12-64","source":"/var/log/gone","offset":5,"FileStateOS":{"inode":12,"device":64}}]"#,
    );
    folder.write("filebeat/3.json", "[]");
    folder.write("filebeat/active.dat", "/elsewhere/registry/filebeat/7.json");
    folder.write(
        "filebeat/log.json",
        "{\"op\":\"set\",\"id\":7}\n{\"k\":\"filebeat::logs::native::11-64\",\"v\":{\"source\":\"/old\",\"offset\":1}}\n\
         {\"op\":\"set\",\"id\":8}\n{\"k\":\"filestream::nginx::native::21-65\",\"v\":{\"cursor\":{\"offset\":300},\"meta\":{\"source\":\"/var/log/n\",\"identifier_name\":\"native\"}}}\n\
         {\"op\":\"remove\",\"id\":9}\n{\"k\":\"filebeat::logs::native::12-64\"}\n\
         {\"op\":\"set\",\"id\":10}\n{\"k\":\"filestream::f::fingerprint::abcdef\",\"v\":{\"cursor\":{\"offset\":7},\"meta\":{\"source\":\"/var/log/f\"}}}\n\
         {\"op\":\"set\",\"id\":11}\n{\"k\":\"filestream::f::native::31-65\",\"v\":{\"cursor\":null,\"meta\":{\"source\":\"/var/log/new\"}}}\n\
         {\"op\":\"set\",\"id\":12}\n{\"k\":\"journald::x\",\"v\":{\"cursor\":\"s=1\"}}\n\
         {\"op\":\"set\",\"id\":13}\n{\"k\":\"torn",
    );
    let expected = [
        position("/var/log/a", 11, 64, 10),
        position("/var/log/f", 0, 0, 7),
        position("/var/log/n", 21, 65, 300),
    ];
    for place in ["", "filebeat", "filebeat/log.json"] {
        let found = positions(Tool::Filebeat, &folder.0.join(place)).unwrap();
        assert_eq!(found.kept, expected, "{place}");
        assert_eq!(found.left_out.len(), 2);
        assert!(found.left_out[0].at.ends_with("log.json:13") && found.left_out[1].at == "journald::x");
    }
    fs::remove_file(folder.0.join("filebeat/active.dat")).unwrap();
    assert_eq!(positions(Tool::Filebeat, &folder.0).unwrap().kept, expected, "the newest checkpoint counts");
    fs::remove_file(folder.0.join("filebeat/7.json")).unwrap();
    fs::remove_file(folder.0.join("filebeat/3.json")).unwrap();
    assert_eq!(positions(Tool::Filebeat, &folder.0).unwrap().kept[0], position("/old", 0, 0, 1));
}

#[test]
fn filebeats_registry_of_old_is_one_file() {
    let folder = Folder::new("filebeat-old");
    let text = r#"[{"source":"/var/log/a","offset":10,"FileStateOS":{"inode":11,"device":64},"ttl":-1},{"offset":3}]"#;
    let file = folder.write("registry", text);
    let found = positions(Tool::Filebeat, &file).unwrap();
    assert_eq!(found.kept, [position("/var/log/a", 11, 64, 10)]);
    assert_eq!(found.left_out.len(), 1);
    assert!(positions(Tool::Filebeat, &folder.0).is_err(), "no registry lies there");
    folder.write("filebeat/data.json", text);
    assert_eq!(positions(Tool::Filebeat, &folder.0).unwrap().kept.len(), 1);
}

#[test]
fn promtails_positions_are_paths_and_numbers() {
    let folder = Folder::new("promtail");
    let text = "positions:\n  /var/log/a.log: \"123\"\n  /var/log/b.log: 7\n  cursor-journal: s=abc;i=1\n  journal-x: \"9\"\n  \
                ? {path: /var/log/c.log, labels: '{}'}\n  : \"5\"\n";
    let found = positions(Tool::Promtail, &folder.write("positions.yaml", text)).unwrap();
    let expected = [("/var/log/a.log", 123), ("/var/log/b.log", 7), ("/var/log/c.log", 5)];
    assert_eq!(found.kept, expected.map(|(path, at)| position(path, 0, 0, at)));
    assert_eq!(found.left_out.len(), 2);
    let empty = folder.write("empty.yaml", "positions:\n");
    assert_eq!(positions(Tool::Promtail, &empty).unwrap(), Positions::default());
    let error = positions(Tool::Promtail, &folder.write("bad.yaml", "positions: [")).unwrap_err();
    assert!(error.to_string().contains("bad.yaml:"));
    assert!(positions(Tool::Promtail, &folder.0.join("nowhere")).is_err());
}

#[test]
fn vectors_checkpoints_are_taken_over_by_inode_alone() {
    let folder = Folder::new("vector");
    folder.write(
        "app/checkpoints.json",
        r#"{"version":"1","checkpoints":[{"fingerprint":{"dev_inode":[64,11]},"position":100,"modified":"2024-01-01T00:00:00Z"},
            {"fingerprint":{"first_lines_checksum":1234},"position":5,"modified":"2024-01-01T00:00:00Z"}]}"#,
    );
    folder.write("other/buffer", "");
    let found = positions(Tool::Vector, &folder.0).unwrap();
    assert_eq!(found.kept, [position("", 11, 64, 100)]);
    assert!(found.left_out[0].at.ends_with("checkpoints[1]") && found.left_out[0].why.contains("checksum"));
    assert_eq!(positions(Tool::Vector, &folder.0.join("app")).unwrap(), found);
    let other = folder.write("bad.json", r#"{"version":"9","checkpoints":[]}"#);
    assert!(positions(Tool::Vector, &other).is_err());
    assert!(positions(Tool::Vector, &folder.0.join("other")).is_err());
}

#[test]
fn fluent_bits_rows_become_positions() {
    let found = from_rows([("/var/log/a".to_owned(), 12, 34), ("/var/log/b".to_owned(), -1, 5)]);
    assert_eq!(found.kept, [position("/var/log/a", 34, 0, 12)]);
    assert_eq!(found.left_out.len(), 1);
    assert!(FLUENT_BIT_QUERY.contains("in_tail_files"));
    assert!(positions(Tool::FluentBit, Path::new("/x")).is_err());
}
