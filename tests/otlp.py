"""OpenTelemetry's own SDK as a sender of logs: `otlp.py grpc|http ENDPOINT COUNT TOKEN [AUTHORITY]`.

AUTHORITY: a file with the certificate that vouches for the server; the way there is TLS then.

Exits with 1 if the SDK could not deliver. Shares no code with the product.
"""

import logging
import sys

from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

protocol, endpoint, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
headers = {"authorization": f"Bearer {sys.argv[4]}"}
authority = sys.argv[5] if len(sys.argv) > 5 else None

if protocol == "grpc":
    from grpc import Compression, ssl_channel_credentials
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

    credentials = ssl_channel_credentials(open(authority, "rb").read()) if authority else None
    exporter = OTLPLogExporter(
        endpoint=endpoint,
        insecure=credentials is None,
        credentials=credentials,
        headers=headers,
        compression=Compression.Gzip,
    )
else:
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    exporter = OTLPLogExporter(
        endpoint=f"{endpoint}/v1/logs", headers=headers, compression=Compression.Gzip, certificate_file=authority
    )

resource = Resource.create({"service.name": f"shop-{protocol}", "deployment.environment": "test"})
provider = LoggerProvider(resource=resource)
processor = BatchLogRecordProcessor(exporter)
provider.add_log_record_processor(processor)
logger = logging.getLogger("orders")
logger.setLevel(logging.INFO)
logger.addHandler(LoggingHandler(logger_provider=provider))
tracer = TracerProvider(resource=resource).get_tracer("orders")

# What the SDK itself complains about is told, and is a failure.
problems = []


class Listener(logging.Handler):
    def emit(self, record):
        problems.append(record.getMessage())


logging.getLogger("opentelemetry").addHandler(Listener())

with tracer.start_as_current_span("checkout"):
    span = trace.get_current_span().get_span_context()
    print(f"{span.trace_id:032x}")
    for number in range(count):
        logger.warning("order %d was refused", number, extra={"order.id": number, "reason": "no stock"})
provider.force_flush()
provider.shutdown()
if problems:
    print(problems, file=sys.stderr)
    sys.exit(1)
