"""What a server answers to OTLP over gRPC, one JSON line a call: `otlp_status.py HOST:PORT TOKEN`.

Shares no code with the product.
"""

import json
import sys

import grpc
from google.rpc import error_details_pb2, status_pb2
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1 import logs_pb2


def request(body):
    record = logs_pb2.LogRecord(body=common_pb2.AnyValue(string_value=body))
    scope = logs_pb2.ScopeLogs(log_records=[record])
    resource = logs_pb2.ResourceLogs(scope_logs=[scope])
    return logs_service_pb2.ExportLogsServiceRequest(resource_logs=[resource])


def call(name, method, message, **options):
    answer = {"call": name, "code": "OK"}
    try:
        method(message, timeout=30, **options)
    except grpc.RpcError as error:
        answer = {"call": name, "code": error.code().name, "message": error.details()}
        for key, value in error.trailing_metadata() or []:
            if key == "grpc-status-details-bin":
                status = status_pb2.Status.FromString(value)
                answer["status"] = status.code
                retry = error_details_pb2.RetryInfo()
                if status.details and status.details[0].Unpack(retry):
                    answer["retry_after"] = retry.retry_delay.seconds
    print(json.dumps(answer))


token = [("authorization", f"Bearer {sys.argv[2]}")]
with grpc.insecure_channel(sys.argv[1]) as channel:
    logs = logs_service_pb2_grpc.LogsServiceStub(channel)
    traces = trace_service_pb2_grpc.TraceServiceStub(channel)
    call("good", logs.Export, request("a line"), metadata=token)
    call("packed", logs.Export, request("a line"), metadata=token, compression=grpc.Compression.Gzip)
    call("stranger", logs.Export, request("a line"))
    call("large", logs.Export, request("x" * 20_000), metadata=token)
    call("bomb", logs.Export, request("x" * 20_000), metadata=token, compression=grpc.Compression.Gzip)
    call("traces", traces.Export, trace_service_pb2.ExportTraceServiceRequest(), metadata=token)
    raw = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
    call("no protobuf", raw, b"\xff\xff\xff", metadata=token)
