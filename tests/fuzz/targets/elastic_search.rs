//! Any body of a search is a search or an error; its filter prints as one that is equal, and its aggregations are carried out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace_elastic::{fields::Mapping, request::{Count, Parameters, Search}};
use millrace_filter::Filter;
use millrace_fuzz::NOW;
use millrace_model::declared::Declarations;

fuzz_target!(|body: &[u8]| {
    let none = Parameters::default();
    let mapping = Mapping::of_records(&Declarations::default());
    if let Ok(search) = Search::read(body, &none) {
        for expr in [search.filter(&mapping, NOW), search.post_filter(&mapping, NOW)].into_iter().flatten() {
            millrace_fuzz::hold(&Filter::new(expr));
        }
        if let Ok(order) = search.order(&mapping)
            && order.native().is_none()
        {
            millrace_fuzz::carry_out(&order.pipes(10));
        }
        if let Ok(Some(aggregated)) = search.aggregations(&mapping, NOW) {
            aggregated.pipelines().iter().for_each(|pipeline| millrace_fuzz::carry_out(&pipeline.pipes));
        }
    }
    if let Ok(count) = Count::read(body, &none)
        && let Ok(expr) = count.filter(&mapping, NOW)
    {
        millrace_fuzz::hold(&Filter::new(expr));
    }
});
