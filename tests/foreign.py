"""A reader and writer of the topic that shares no code with Millrace: opentelemetry-proto and kafka-python.

    foreign.py BROKER consume TOPIC                 every message as one line of JSON
    foreign.py BROKER produce TOPIC [PARTITION]     OTLP without any of our headers, from lines of JSON on stdin:
                                                    {"body": …, "attributes": {…}, "resource": {…}, "severity": n}
    foreign.py BROKER raw TOPIC PARTITION TEXT      a message that is no OTLP
    foreign.py BROKER ends TOPIC                    {"partition": n, "low": …, "end": …} of each partition
    foreign.py BROKER remove TOPIC PARTITION BEFORE removes what lies before an offset, as retention does
    foreign.py BROKER extend TOPIC COUNT            gives it so many partitions
    foreign.py BROKER delete TOPIC                  and waits until it is gone
    foreign.py BROKER copy FROM TO PARTITION OFFSET every message but the one there, with its headers, to a new topic
"""

import base64
import json
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest


def value(any_value):
    kind = any_value.WhichOneof("value")
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    if kind == "kvlist_value":
        return mapping(any_value.kvlist_value.values)
    if kind == "bytes_value":
        return {"base64": base64.b64encode(any_value.bytes_value).decode()}
    return getattr(any_value, kind) if kind else None


def mapping(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


def set_pairs(pairs, plain):
    for key, plain_value in plain.items():
        pair = pairs.add()
        pair.key = key
        if isinstance(plain_value, int):
            pair.value.int_value = plain_value
        else:
            pair.value.string_value = plain_value


def messages(broker, topic):
    """All that there are now, in order."""
    consumer = KafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False, auto_offset_reset="earliest")
    partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or [])]
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    consumer.seek_to_beginning(*partitions)
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        for batch in consumer.poll(timeout_ms=500).values():
            yield from batch
    consumer.close()


def records(message):
    request = ExportLogsServiceRequest.FromString(message.value)
    for of_resource in request.resource_logs:
        for of_scope in of_resource.scope_logs:
            for record in of_scope.log_records:
                yield {
                    "body": value(record.body),
                    "attributes": mapping(record.attributes),
                    "resource": mapping(of_resource.resource.attributes),
                    "severity_number": record.severity_number,
                    "severity_text": record.severity_text,
                    "time": record.time_unix_nano,
                    "observed": record.observed_time_unix_nano,
                }


def consume(broker, topic):
    for message in messages(broker, topic):
        shown = {
            "partition": message.partition,
            "offset": message.offset,
            "headers": {name: base64.b64encode(content).decode() for name, content in message.headers},
            "value": base64.b64encode(message.value).decode(),
        }
        try:
            shown["records"] = list(records(message))
        except Exception as error:  # what is no OTLP is shown without records
            shown["error"] = str(error)
        print(json.dumps(shown))


def produce(broker, topic, partition=None):
    request = ExportLogsServiceRequest()
    for line in sys.stdin:
        plain = json.loads(line)
        of_resource = request.resource_logs.add()
        set_pairs(of_resource.resource.attributes, plain.get("resource", {}))
        record = of_resource.scope_logs.add().log_records.add()
        record.body.string_value = plain["body"]
        record.severity_number = plain.get("severity", 0)
        set_pairs(record.attributes, plain.get("attributes", {}))
    producer = KafkaProducer(bootstrap_servers=broker, acks="all")
    partition = None if partition is None else int(partition)
    producer.send(topic, value=request.SerializeToString(), partition=partition).get(timeout=30)
    producer.close()


def raw(broker, topic, partition, text):
    producer = KafkaProducer(bootstrap_servers=broker, acks="all")
    headers = [("from", b"somewhere")]
    producer.send(topic, value=text.encode(), headers=headers, partition=int(partition)).get(timeout=30)
    producer.close()


def ends(broker, topic):
    consumer = KafkaConsumer(bootstrap_servers=broker, enable_auto_commit=False)
    partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or [])]
    lows, highs = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    for partition in partitions:
        print(json.dumps({"partition": partition.partition, "low": lows[partition], "end": highs[partition]}))
    consumer.close()


def remove(broker, topic, partition, before):
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.delete_records({TopicPartition(topic, int(partition)): int(before)})
    admin.close()


def extend(broker, topic, count):
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_partitions({topic: int(count)})
    admin.close()
    while len(known_partitions(broker, topic)) < int(count):
        time.sleep(0.1)


def delete(broker, topic):
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.delete_topics([topic])
    admin.close()
    while known_partitions(broker, topic):
        time.sleep(0.1)


def known_partitions(broker, topic):
    consumer = KafkaConsumer(bootstrap_servers=broker)
    partitions = consumer.partitions_for_topic(topic) if topic in consumer.topics() else None
    consumer.close()
    return partitions or []


def copy(broker, source, target, partition, offset):
    everything = list(messages(broker, source))
    count = max(message.partition for message in everything) + 1
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics([NewTopic(name=target, num_partitions=count, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker, acks="all")
    for message in everything:
        if (message.partition, message.offset) != (int(partition), int(offset)):
            producer.send(
                target,
                key=message.key,
                value=message.value,
                headers=list(message.headers),
                partition=message.partition,
                timestamp_ms=message.timestamp,
            )
    producer.flush(timeout=60)
    producer.close()


if __name__ == "__main__":
    commands = [consume, produce, raw, ends, remove, extend, delete, copy]
    command = {command.__name__: command for command in commands}[sys.argv[2]]
    command(sys.argv[1], *sys.argv[3:])
