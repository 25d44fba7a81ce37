//! Any body of `_bulk` or `_msearch` is a list of operations or an error; each of them is read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_elastic::{fields::{Mapping, record_of}, request::{Indices, Parameters, bulk, multi}};
use millrace_model::declared::Declarations;

fuzz_target!(|body: &[u8]| {
    let mapping = Mapping::of_records(&Declarations::default());
    for operation in bulk(body, Some("x")).into_iter().flatten() {
        if let Ok(document) = operation.document() {
            drop(record_of(&mapping, &document.to_string(), &document));
        }
        if let Ok(update) = operation.update() {
            drop((update.applied(None), update.applied(Some(&serde_json::json!({ "a": [1] })))));
        }
    }
    drop(multi(body, &Indices::default(), &Parameters::default()));
});
