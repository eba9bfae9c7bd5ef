"""The server process: socket, health, reflection, start, graceful end.

The socket opens first and health answers NOT_SERVING, so that whoever waits can see that the server is coming; then
the bundle is loaded and warmed, and only then the server is SERVING. SIGTERM and SIGINT let what is under way finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import time
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC's own lines on standard error are no JSON; read at import

import grpc
import structlog
import uvloop
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from rewrite_service.access.door import Access
from rewrite_service.access.sockets import certificates_of, listen, server_options
from rewrite_service.access.tls import CertificateError, Certificates
from rewrite_service.access.tokens import TokensError
from rewrite_service.access.watch import keep_current
from rewrite_service.errors import BundleError, StoreError
from rewrite_service.logs import configure_logging, error_fields
from rewrite_service.metrics.catalogue import REGISTRY, SERVING, WORKERS
from rewrite_service.metrics.endpoint import open_metrics
from rewrite_service.metrics.sampling import Sampler, process_reading, service_reading
from rewrite_service.servicer import SERVICE_NAME, RewriteServicer
from rewrite_service.settings import Settings

if TYPE_CHECKING:
    from rewrite_service.swap.swapper import Swapper

_HEALTH_NAMES = ("", SERVICE_NAME)
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_QUIET_SECONDS = 0.1
_FLUSH_SECONDS = 0.2
_WORKER_SECONDS = 1.0
_CACHES_EVERY_S = 60.0


class Exit(IntEnum):
    """Exit codes of the server process; 2 is the command line's own for wrong usage."""

    OK = 0
    FAILED = 1
    BUNDLE = 3
    ADDRESS = 4
    STORE = 5
    ACCESS = 6


def serve(bundle: Path, settings: Settings, cells: memoryview | None = None) -> int:
    """Serves the bundle in folder `bundle` until SIGTERM or SIGINT. Returns the process's exit code (see `Exit`).

    `cells`: where to count for the metrics, of a worker whose supervisor tells them; None: the process tells its own.
    """
    configure_logging(settings)
    if cells is not None:
        REGISTRY.use(cells)
    elif not open_metrics(settings, [REGISTRY.cells]):
        return Exit.ADDRESS
    else:
        WORKERS.set(1)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_Server(bundle, settings).run())
        finally:
            for number in END_SIGNALS:  # one that comes again changes nothing, and must not change the exit code
                signal.signal(number, signal.SIG_IGN)


def spare_full_collections() -> None:
    """For the rest of this process, no full garbage collection: it walks every object of the bundle and of the users at
    hand, and stops all threads meanwhile, for a tenth of a second and more (benchmarks/serving/pauses.py). What
    requests leave behind is young, and goes on being collected."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1 << 30)


class _Server:
    def __init__(self, bundle: Path, settings: Settings) -> None:
        self._bundle = bundle
        self._settings = settings
        self._log = structlog.get_logger().bind()
        self._stop = asyncio.Event()
        self._swapper: Swapper | None = None
        self._admin: grpc.aio.Server | None = None

    async def run(self) -> Exit:
        begun = time.monotonic()
        loop = asyncio.get_running_loop()
        for number in END_SIGNALS:
            # Not the loop's own handlers, which end with the loop: the default would come back before the process ends.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._stop.set))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)  # a worker starts with them held back
        health = health_aio.HealthServicer()
        await _set_health(health, health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            access = Access.from_file(self._settings.tokens_file)
            certificates = certificates_of(self._settings)
        except (TokensError, CertificateError) as error:
            self._log.error("cannot serve", error=type(error).__name__, message=str(error))
            return Exit.ACCESS
        servicer = RewriteServicer(self._settings, access)
        server = self._server(servicer, health)
        try:
            port = listen(server, self._settings.host, self._settings.port, certificates)
        except RuntimeError:
            self._log.error(
                f"cannot listen on {self._settings.host}:{self._settings.port}: it is taken, or not an address of "
                "this machine; set another with --host and --port"
            )
            servicer.close(_WORKER_SECONDS)
            return Exit.ADDRESS
        address = f"{self._settings.host}:{port}"
        await server.start()
        told = self._settings.metrics_port is not None
        sampler = Sampler([process_reading(), service_reading(servicer)] if told else [])
        sampling = asyncio.create_task(sampler.run())
        self._log.info("loading", address=address, bundle=str(self._bundle))
        watching = loop.create_task(keep_current(access, certificates, self._settings.tokens_file))
        code = await self._load(servicer)
        if code is Exit.OK:
            code = await self._open_admin(access, certificates)
        if code is Exit.OK and not self._stop.is_set():
            await _set_health(health, health_pb2.HealthCheckResponse.SERVING)
            SERVING.set(1)
            sampler.sample()
            self._log.info(f"listening on {address}", address=address, seconds=round(time.monotonic() - begun, 3))
            await self._serve_until_told(servicer)
            SERVING.set(0)
        await self._drain(server, servicer, health)
        sampling.cancel()
        watching.cancel()
        return code

    async def _serve_until_told(self, servicer: RewriteServicer) -> None:
        """Waits for the end; says from time to time, and last, how the caches do, and drops from them whom other
        processes have forgotten meanwhile."""
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _CACHES_EVERY_S)
            if not self._stop.is_set():
                await servicer.drop_forgotten()
            self._log.info("caches", **servicer.cache_figures())

    def _server(self, servicer: RewriteServicer, health: health_aio.HealthServicer) -> grpc.aio.Server:
        server = grpc.aio.server(
            options=[
                # A second server on the port is a mistake, and should hear of it; workers share one.
                ("grpc.so_reuseport", int(self._settings.workers > 1)),
                *server_options(self._settings),
            ]
        )
        server.add_generic_rpc_handlers((servicer.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(health, server)
        if self._settings.tokens_file is None:  # reflection asks nobody who they are
            names = (SERVICE_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        return server

    async def _open_admin(self, access: Access, certificates: Certificates | None) -> Exit:
        """Opens AdminService on its own port, where settings have one."""
        from rewrite_service.admin.servicer import AdminServicer

        host, port = self._settings.admin_host, self._settings.admin_port
        if port is None:
            return Exit.OK
        self._admin = grpc.aio.server(options=[("grpc.so_reuseport", 0), *server_options(self._settings)])
        self._admin.add_generic_rpc_handlers((AdminServicer(self._bundle, self._settings, access).handlers(),))
        try:
            bound = listen(self._admin, host, port, certificates)
        except RuntimeError:
            self._log.error(f"cannot listen on {host}:{port}; set another with admin_port and admin_host")
            return Exit.ADDRESS
        await self._admin.start()
        self._log.info(f"AdminService on {host}:{bound}", admin_address=f"{host}:{bound}")
        return Exit.OK

    async def _load(self, servicer: RewriteServicer) -> Exit:
        def load() -> object:
            from rewrite_service.swap.swapper import Swapper  # only now: it is heavy, and health answers already

            self._swapper = Swapper(self._bundle, self._settings)
            pipeline = self._swapper.open()
            spare_full_collections()
            return pipeline

        try:
            await servicer.open(load)
            self._swapper.start(servicer.take)
        except (BundleError, StoreError) as error:  # they speak of files, never of what anybody said
            self._log.error("cannot serve", error=type(error).__name__, message=str(error))
            return Exit.BUNDLE if isinstance(error, BundleError) else Exit.STORE
        except Exception as error:
            self._log.error("cannot serve", **error_fields(error, self._settings.log_texts))
            return Exit.FAILED
        return Exit.OK

    async def _drain(
        self, server: grpc.aio.Server, servicer: RewriteServicer, health: health_aio.HealthServicer
    ) -> None:
        """Refuses what is new, lets what is under way finish within the grace, cuts the rest.

        gRPC's own stop comes last: calls that reach the socket in the very moment of it end as CANCELLED without
        having begun, so it waits until the callers have heard that they should go elsewhere.
        """
        self._log.info("draining", under_way=servicer.under_way)
        await health.enter_graceful_shutdown()
        try:
            await asyncio.wait_for(servicer.drain(_QUIET_SECONDS), self._settings.drain_seconds)
        except TimeoutError:
            self._log.warning("drain ended early", cut=servicer.under_way)
        if self._admin is not None:
            await self._admin.stop(_FLUSH_SECONDS)
        # Not a greater grace: health watchers never end by themselves.
        await server.stop(_FLUSH_SECONDS)
        looked = self._swapper is None or self._swapper.close(_WORKER_SECONDS)
        servicer.close(_WORKER_SECONDS, in_use=not looked)
        self._log.info("stopped")


async def _set_health(
    health: health_aio.HealthServicer, status: health_pb2.HealthCheckResponse.ServingStatus
) -> None:
    for name in _HEALTH_NAMES:
        await health.set(name, status)
