//! What `Producer` and `Consumer` promise, held against every kind of topic: each function of the suite runs once over the embedded
//! topic and once over a real Kafka, and those that are about sending once more over HTTP.
#![expect(clippy::unwrap_used, reason = "tests")]

mod groups;
mod http_faults;
mod kafka_faults;
mod kafka_only;
mod messages;
mod world;

/// Makes a test of each function of the suite, for each of these kinds of topic.
macro_rules! contract {
    ($($world:ident),+: $tests:tt) => {
        $(contract! { @$world $tests })+
    };
    (@$world:ident { $($room:ident :: $name:ident),* $(,)? }) => {
        mod $world {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::$room::$name(crate::world::World::$world()).await;
            })*
        }
    };
}

mod sending {
    contract! { embedded, kafka, http: {
        messages::come_out_as_they_went_in_and_in_order,
        messages::what_can_never_be_taken_is_rejected_and_the_rest_goes_on,
        messages::no_more_are_under_way_than_reports_have_room,
        messages::the_dead_letter_topic_is_one_of_its_own,
        messages::what_is_refused_is_kept_as_a_dead_letter,
        messages::counts_add_up,
        messages::the_topic_says_how_many_partitions_it_has,
    } }
}

mod reading {
    contract! { embedded, kafka: {
        messages::a_slow_pipeline_bounds_what_is_read_ahead,
        messages::a_topic_made_again_has_another_id,
        messages::pages_are_read_apart_from_every_group,
        groups::reading_begins_where_it_is_told,
        groups::what_is_not_there_is_never_passed_over,
        groups::an_assignment_that_nobody_starts_is_offered_again,
        groups::a_paused_partition_waits_and_its_end_is_known,
        groups::two_members_share_and_hand_over,
        groups::a_member_that_does_not_settle_is_not_waited_for,
        groups::commits_survive_reopening,
        groups::two_groups_read_everything_each,
        groups::a_reader_in_no_group_reads_everything_beside_them,
    } }
}
