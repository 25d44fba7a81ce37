//! What is said of the cluster, its nodes and its indices.

use crate::{fields::Mapping, request::Indices};
use serde_json::{Map, Value as Json, json};

/// The version that clients are told: one that all clients of major version 8, and those of 9, accept.
pub const VERSION: &str = "8.19.0";

/// What is known of an index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndexFacts {
    /// Its name.
    pub name: String,
    /// An id that tells it from others of its name.
    pub uuid: String,
    /// How many documents it has.
    pub documents: u64,
    /// How many bytes it takes.
    pub bytes: u64,
    /// Of how many segments it is made.
    pub segments: u64,
}

/// A node, and where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its address: `10.0.0.1:7700`.
    pub address: String,
}

/// `GET /`.
pub fn info(node: &str, cluster: &str, cluster_uuid: &str) -> Json {
    json!({
        "name": node,
        "cluster_name": cluster,
        "cluster_uuid": cluster_uuid,
        "version": {
            "number": VERSION,
            "build_flavor": "default",
            "build_type": "tar",
            "build_hash": "0000000000000000000000000000000000000000",
            "build_date": "2025-07-23T22:05:00.000000000Z",
            "build_snapshot": false,
            "lucene_version": "9.12.2",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    })
}

/// `_cluster/health`.
pub fn health(cluster: &str, nodes: usize, indices: usize) -> Json {
    json!({
        "cluster_name": cluster,
        "status": "green",
        "timed_out": false,
        "number_of_nodes": nodes,
        "number_of_data_nodes": nodes,
        "active_primary_shards": indices,
        "active_shards": indices,
        "relocating_shards": 0,
        "initializing_shards": 0,
        "unassigned_shards": 0,
        "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": 100.0,
    })
}

/// `_nodes/http`.
pub fn nodes(cluster: &str, nodes: &[Node]) -> Json {
    let shown = |node: &Node| {
        let host = node.address.rsplit_once(':').map_or(node.address.as_str(), |(host, _)| host);
        let value = json!({
            "name": node.name,
            "transport_address": node.address,
            "host": host,
            "ip": host,
            "version": VERSION,
            "roles": ["data", "ingest", "master"],
            "http": { "bound_address": [node.address], "publish_address": node.address, "max_content_length_in_bytes": 104_857_600 },
        });
        (node.id.clone(), value)
    };
    json!({
        "_nodes": { "total": nodes.len(), "successful": nodes.len(), "failed": 0 },
        "cluster_name": cluster,
        "nodes": nodes.iter().map(shown).collect::<Map<_, _>>(),
    })
}

/// `_resolve/index`.
pub fn resolve(names: &[&str]) -> Json {
    let index = |name: &&str| json!({ "name": name, "attributes": ["open"] });
    json!({ "indices": names.iter().map(index).collect::<Vec<_>>(), "aliases": [], "data_streams": [] })
}

/// `_aliases`: there are none.
pub fn aliases(names: &[&str]) -> Json {
    Json::Object(names.iter().map(|name| ((*name).to_owned(), json!({ "aliases": {} }))).collect())
}

/// `_mapping` of these indices.
pub fn mappings(indices: &[(&str, &Mapping)]) -> Json {
    let one =
        |(name, mapping): &(&str, &Mapping)| ((*name).to_owned(), json!({ "mappings": mapping.printed() }));
    Json::Object(indices.iter().map(one).collect())
}

/// `_stats` of these indices.
pub fn stats(indices: &[IndexFacts]) -> Json {
    let of = |documents: u64, bytes: u64, segments: u64| {
        json!({
            "docs": { "count": documents, "deleted": 0 },
            "store": { "size_in_bytes": bytes, "total_data_set_size_in_bytes": bytes, "reserved_in_bytes": 0 },
            "segments": { "count": segments },
        })
    };
    let both = |part: Json| json!({ "primaries": part.clone(), "total": part });
    let sum = |what: fn(&IndexFacts) -> u64| indices.iter().map(what).sum();
    let one = |index: &IndexFacts| {
        let mut shown = both(of(index.documents, index.bytes, index.segments));
        shown["uuid"] = json!(index.uuid);
        shown["health"] = json!("green");
        shown["status"] = json!("open");
        (index.name.clone(), shown)
    };
    json!({
        "_shards": { "total": indices.len(), "successful": indices.len(), "failed": 0 },
        "_all": both(of(sum(|index| index.documents), sum(|index| index.bytes), sum(|index| index.segments))),
        "indices": indices.iter().map(one).collect::<Map<_, _>>(),
    })
}

/// `_search_shards`.
pub fn search_shards(indices: &[&str], nodes: &[Node]) -> Json {
    let node = nodes.first().map_or("", |node| node.id.as_str());
    let shard = |index: &&str| json!([{ "state": "STARTED", "primary": true, "node": node, "relocating_node": null, "shard": 0, "index": index }]);
    let shown: Map<String, Json> = nodes
        .iter()
        .map(|node| (node.id.clone(), json!({ "name": node.name, "transport_address": node.address })))
        .collect();
    json!({ "nodes": shown, "indices": indices.iter().map(|index| ((*index).to_owned(), json!({}))).collect::<Map<_, _>>(),
        "shards": indices.iter().map(shard).collect::<Vec<_>>() })
}

impl Indices {
    /// Can an index be called so?
    ///
    /// # Errors
    /// Why not.
    pub fn check_name(name: &str) -> Result<(), crate::Error> {
        let wrong =
            |why: &str| Err(crate::Error::index_name(&name.chars().take(100).collect::<String>(), why));
        if name.is_empty() || name == "." || name == ".." {
            return wrong("must not be empty, '.' or '..'");
        }
        if name.len() > 255 {
            return wrong("index name is too long");
        }
        if name.starts_with(['_', '-', '+']) {
            return wrong("must not start with '_', '-', or '+'");
        }
        if name.chars().any(char::is_uppercase) {
            return wrong("must be lowercase");
        }
        if name.contains(|c: char| c.is_whitespace() || c.is_control() || "\\/*?\"<>|,#:&".contains(c)) {
            return wrong(
                "must not contain the following characters [' ','\"','*','\\\\','<','|',',','>','/','?','#',':','&']",
            );
        }
        Ok(())
    }
}
