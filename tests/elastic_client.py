"""Elasticsearch's own client for Python against a server: elastic_client.py 8|9 URL. Ends with 1 where something is not as with
Elasticsearch."""
import importlib
import sys

version, url = sys.argv[1], sys.argv[2]
module = importlib.import_module(f"elasticsearch{version}")
helpers = importlib.import_module(f"elasticsearch{version}.helpers")
client = module.Elasticsearch(url, request_timeout=60)
index = f"docs{version}"


def same(found, expected, what):
    assert found == expected, f"{what}: {found!r} instead of {expected!r}"


same(client.info()["tagline"], "You Know, for Search", "info")
properties = {
    "@timestamp": {"type": "date"},
    "title": {"type": "text", "fields": {"keyword": {"type": "keyword"}}},
    "summary": {"type": "text"},
    "host": {"type": "keyword"},
    "n": {"type": "long"},
}
client.indices.create(index=index, mappings={"properties": properties})
assert client.indices.exists(index=index)
try:
    client.indices.create(index=index)
    raise AssertionError("an index that is there was made again")
except module.BadRequestError as error:
    same(error.error, "resource_already_exists_exception", "made twice")


def document(n):
    return {
        "@timestamp": f"2026-01-15T10:{n // 60 % 60:02}:{n % 60:02}Z",
        "title": f"Request {n} was {'slow' if n % 10 == 0 else 'fast'}",
        "summary": "Disk nearly full" if n % 7 == 0 else "All is well",
        "host": f"web{n % 3}",
        "n": n,
    }


actions = ({"_index": index, "_id": f"id-{n}", "_source": document(n)} for n in range(500))
written, errors = helpers.bulk(client, actions, chunk_size=200, refresh="wait_for")
same((written, errors), (500, []), "bulk")
wrong = [{"_index": index, "_source": {"n": "no number"}}, {"_index": index, "_id": "good", "_source": document(500)}]
written, errors = helpers.bulk(client, wrong, raise_on_error=False, refresh="wait_for")
same((written, len(errors)), (1, 1), "bulk with an error")
same(client.count(index=index)["count"], 501, "count")

found = client.search(index=index, query={"match": {"title": "SLOW"}}, size=3, sort=[{"n": "desc"}])
same([hit["_source"]["n"] for hit in found["hits"]["hits"]], [500, 490, 480], "match, sorted")
same(found["hits"]["total"], {"value": 51, "relation": "eq"}, "total")
found = client.search(index=index, query={"match_phrase": {"summary": "nearly full"}}, size=0)
same(found["hits"]["total"]["value"], 72, "a phrase in another text")
must = [{"term": {"host": "web1"}}, {"range": {"n": {"gte": 100, "lt": 200}}}]
found = client.search(index=index, query={"bool": {"filter": must, "must_not": {"term": {"n": 100}}}})
same(found["hits"]["total"]["value"], sum(n % 3 == 1 for n in range(101, 200)), "bool")
time = {"range": {"@timestamp": {"gte": "2026-01-15T10:01:00Z", "lt": "2026-01-15T10:02:00Z"}}}
same(client.count(index=index, query=time)["count"], 60, "a time")
same(client.get(index=index, id="id-42")["_source"], document(42), "a document by its id")

aggs = {
    "hosts": {"terms": {"field": "host"}, "aggs": {"most": {"max": {"field": "n"}}}},
    "minutes": {"date_histogram": {"field": "@timestamp", "fixed_interval": "1m"}},
    "different": {"cardinality": {"field": "host"}},
}
found = client.search(index=index, size=0, aggs=aggs)["aggregations"]
same([(one["key"], one["doc_count"]) for one in found["hosts"]["buckets"]], [("web0", 167), ("web1", 167), ("web2", 167)], "terms")
same(found["hosts"]["buckets"][0]["most"]["value"], 498.0, "max of terms")
same([one["doc_count"] for one in found["minutes"]["buckets"]], [60] * 8 + [21], "a histogram")
same(found["different"]["value"], 3, "cardinality")

seen = [hit["_source"]["n"] for hit in helpers.scan(client, index=index, size=70)]
same(sorted(seen), list(range(501)), "scan")
pit = client.open_point_in_time(index=index, keep_alive="1m")["id"]
client.index(index=index, document=document(501), refresh="wait_for")
seen, after = [], None
while True:
    page = client.search(pit={"id": pit, "keep_alive": "1m"}, size=100, sort=[{"n": "asc"}], search_after=after)
    hits = page["hits"]["hits"]
    if not hits:
        break
    seen += [hit["_source"]["n"] for hit in hits]
    after = hits[-1]["sort"]
same(seen, list(range(501)), "a point in time, page by page")
client.close_point_in_time(id=pit)

caps = client.field_caps(index=index, fields=["*"])["fields"]
assert {"host", "n", "title"} <= set(caps), caps
same(client.indices.get_mapping(index=index)[index]["mappings"]["properties"]["n"]["type"], "long", "mapping")
assert any(row["index"] == index for row in client.cat.indices(format="json"))
try:
    client.search(index=index, query={"nonsense": {}})
    raise AssertionError("an unknown query was answered")
except module.BadRequestError as error:
    same(error.error, "parsing_exception", "an unknown query")
try:
    client.search(index="absent")
    raise AssertionError("an index that is not there was searched")
except module.NotFoundError as error:
    same(error.error, "index_not_found_exception", "an absent index")
client.delete_by_query(index=index, query={"range": {"n": {"gte": 400}}})
same(client.count(index=index)["count"], 400, "deleted by query")
client.indices.delete(index=index)
assert not client.indices.exists(index=index)
print("all as expected")
