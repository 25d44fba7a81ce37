#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use millrace_catalogue::Cut;
use millrace_model::{LogRecord, SystemClock, Value};
use millrace_store::TemplateId;

const MERGED: &[u8] = b"user \0 came in at door \0";

fn name(templates: &Templates, line: &str) -> TemplateId {
    let record = LogRecord { body: Value::from(line), ..LogRecord::default() };
    templates.namer().name(&record).unwrap()
}

fn alias(mask: &[u8]) -> Alias {
    Alias { id: TemplateId::of(mask).to_string(), mask: mask.to_vec() }
}

async fn publish(catalogue: &Catalogue, aliases: Vec<Alias>) {
    catalogue.publish(&Cut { aliases, ..Cut::default() }).await.unwrap();
}

#[tokio::test]
async fn merges_are_read_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/catalogue.db", folder.path().display());
    let catalogue = Catalogue::open(&url, Arc::new(SystemClock)).await.unwrap();
    let known = KnownTemplates::default();
    let line = "user ann came in at door 7";
    let before = known.current(&catalogue).await;
    assert_eq!(name(&before, line), TemplateId::of(b"user ann came in at door \0"));

    // More than one reading gives.
    let mut aliases: Vec<Alias> =
        (0..1500).map(|nth| alias(format!("kind x{nth:x} of \0").as_bytes())).collect();
    aliases.push(alias(MERGED));
    publish(&catalogue, aliases).await;
    let after = known.current(&catalogue).await;
    assert_eq!(name(&after, line), TemplateId::of(MERGED));
    assert_eq!(
        name(&before, line),
        TemplateId::of(b"user ann came in at door \0"),
        "an answer is of one state"
    );
    assert!(Arc::ptr_eq(&after, &known.current(&catalogue).await), "nothing new, nothing done");
}

#[tokio::test]
async fn a_catalogue_that_fails_leaves_what_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalogue.db");
    let url = format!("sqlite://{}", path.display());
    let catalogue = Catalogue::open(&url, Arc::new(SystemClock)).await.unwrap();
    let known = KnownTemplates::default();
    publish(&catalogue, vec![alias(MERGED)]).await;
    known.current(&catalogue).await;

    let unreadable = format!("sqlite://{}/other.db", folder.path().display());
    let broken = Catalogue::open(&unreadable, Arc::new(SystemClock)).await.unwrap();
    std::fs::remove_file(folder.path().join("other.db")).unwrap();
    assert!(broken.aliases_since(0).await.is_err(), "this is no catalogue that fails");
    let kept = known.current(&broken).await;
    assert_eq!(name(&kept, "user eve came in at door 9"), TemplateId::of(MERGED));
}
