"""The server process: socket, health, reflection, start, graceful end.

Of a process that serves alone the socket opens first and health answers NOT_SERVING, so that whoever waits can see
that the server is coming; then the bundle is loaded and warmed, and only then the server is SERVING. One of several
listens last of all: others answer on the port meanwhile, and nobody should be dealt to one that cannot yet. SIGTERM and
SIGINT let what is under way finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
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
from rewrite_service.huge_pages import back_with_huge_pages
from rewrite_service.logs import configure_logging, error_fields
from rewrite_service.metrics.catalogue import REGISTRY, SERVING, WORKERS
from rewrite_service.metrics.cells import new_cells
from rewrite_service.metrics.endpoint import open_metrics
from rewrite_service.metrics.sampling import Sampler, process_reading, service_reading
from rewrite_service.servicer import SERVICE_NAME, RewriteServicer
from rewrite_service.settings import Settings

if TYPE_CHECKING:
    from rewrite_service.console.process import Console
    from rewrite_service.http_door.listener import HttpListener
    from rewrite_service.muster import OneOfSeveral
    from rewrite_service.pipeline import Pipeline
    from rewrite_service.swap.swapper import Swapper

_HEALTH_NAMES = ("", SERVICE_NAME)
END_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_QUIET_SECONDS = 0.1
_FLUSH_SECONDS = 0.2
_WORKER_SECONDS = 1.0
_CACHES_EVERY_S = 60.0
_LOOK_SECONDS = 1.0
_HUGE_PAGES_EVERY_S = 60.0
_SWITCH_S = 0.0005


class Exit(IntEnum):
    """Exit codes of the server process; 2 is the command line's own for wrong usage."""

    OK = 0
    FAILED = 1
    BUNDLE = 3
    ADDRESS = 4
    STORE = 5
    ACCESS = 6


def serve(bundle: Path, settings: Settings, of: OneOfSeveral | None = None) -> int:
    """Serves the bundle in folder `bundle` until SIGTERM or SIGINT. Returns the process's exit code (see `Exit`).

    `of`: of a worker beside others on the port `settings.port`; None: the process serves alone.
    """
    configure_logging(settings)
    switch_threads_often()
    console = None
    if of is not None:
        REGISTRY.use(of.cells)
    else:
        try:
            console = _own_console(bundle, settings)
        except OSError as error:
            structlog.get_logger().error(no_console(settings, error))
            return Exit.ADDRESS
        if not open_metrics(settings, [REGISTRY.cells]):
            return Exit.ADDRESS
        WORKERS.set(1)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            return runner.run(_Server(bundle, settings, console, of).run())
        finally:
            if console is not None:
                console.stop(_WORKER_SECONDS)
            for number in END_SIGNALS:  # one that comes again changes nothing, and must not change the exit code
                signal.signal(number, signal.SIG_IGN)


def _own_console(bundle: Path, settings: Settings) -> Console | None:
    """The console of a process that serves alone, its port open; from now on counts go where it can read them. Raises
    OSError."""
    if settings.console_port is None:
        return None
    from rewrite_service.console.process import Console, counted_memory

    counted = counted_memory(REGISTRY.size)
    console = Console(bundle.absolute(), settings, [counted])
    REGISTRY.use(new_cells(REGISTRY, counted))
    return console


def no_console(settings: Settings, error: OSError) -> str:
    """Why there is none, with the remedy."""
    asked = f"{settings.console_host}:{settings.console_port}"
    return f"cannot serve the console on {asked}: {error.strerror}; set another console_port or console_host"


def switch_threads_often() -> None:
    """For the rest of this process, a thread waits for half a millisecond, not five, until the one at work lets it run.
    The worker computes; the event loop has next to nothing to do, and what it does is due: the answer to a request
    whose time is over (docs/decisions/0036-huge-pages-and-threads-in-turn.md)."""
    sys.setswitchinterval(_SWITCH_S)


def spare_full_collections() -> None:
    """For the rest of this process, no full garbage collection: it walks every object of the bundle and of the users at
    hand, and stops all threads meanwhile, for a tenth of a second and more (benchmarks/serving/pauses.py). What
    requests leave behind is young, and goes on being collected."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, 1 << 30)


class _Server:
    def __init__(self, bundle: Path, settings: Settings, console: Console | None, of: OneOfSeveral | None) -> None:
        self._bundle = bundle
        self._settings = settings
        self._of = of
        self._console, self._inside = console, console.inside if console else of.inside if of else None
        self._health = health_aio.HealthServicer()
        self._door: grpc.aio.Server | None = None
        self._log = structlog.get_logger().bind()
        self._stop = asyncio.Event()
        self._swapper: Swapper | None = None
        self._admin: grpc.aio.Server | None = None
        self._http: HttpListener | None = None

    async def run(self) -> Exit:
        begun = time.monotonic()
        loop = asyncio.get_running_loop()
        for number in END_SIGNALS:
            # Not the loop's own handlers, which end with the loop: the default would come back before the process ends.
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(self._stop.set))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)  # a worker starts with them held back
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        try:
            access = Access.from_file(self._settings.tokens_file)
            certificates = certificates_of(self._settings)
        except (TokensError, CertificateError) as error:
            self._log.error("cannot serve", error=type(error).__name__, message=str(error))
            return Exit.ACCESS
        servicer = RewriteServicer(self._settings, access)
        server = self._server(servicer)
        port: int | None = self._settings.port
        if self._of is None and (port := await self._listen(server, servicer, certificates)) is None:
            await server.stop(None)
            servicer.close(_WORKER_SECONDS)
            return Exit.ADDRESS
        address = f"{self._settings.host}:{port}"
        told = self._settings.counts_calls
        sampler = Sampler([process_reading(), service_reading(servicer)] if told else [])
        sampling = asyncio.create_task(sampler.run())
        self._log.info("loading", address=address, bundle=str(self._bundle))
        watching = loop.create_task(keep_current(access, certificates, self._settings.tokens_file))
        code = await self._load(servicer)
        if code is Exit.OK:
            code = await self._open_admin(access, certificates)
        if code is Exit.OK:
            code = await self._open_door(access, servicer)
        if code is Exit.OK and self._of is not None:
            await self._of.muster.join(self._of.number, time.monotonic() - begun, self._stop.is_set)
        if code is Exit.OK and not self._stop.is_set():
            await self._set_health(health_pb2.HealthCheckResponse.SERVING)
            if self._of is not None and await self._listen(server, servicer, certificates) is None:
                code = Exit.ADDRESS
        if code is Exit.OK and not self._stop.is_set():
            SERVING.set(1)
            sampler.sample()
            self._log.info(f"listening on {address}", address=address, seconds=round(time.monotonic() - begun, 3))
            threading.Thread(target=self._back_with_huge_pages, name="huge-pages", daemon=True).start()
            tending = loop.create_task(self._tend_console())
            await self._serve_until_told(servicer)
            tending.cancel()
            SERVING.set(0)
        await self._drain(server, servicer)
        sampling.cancel()
        watching.cancel()
        return code

    def _back_with_huge_pages(self) -> None:
        """From time to time, since what is remembered of users grows; beside requests, which wait no longer than a page
        of 2 MB takes."""

        def rest(seconds: float) -> bool:
            time.sleep(seconds)
            return self._stop.is_set()

        while back_with_huge_pages(rest) and not rest(_HUGE_PAGES_EVERY_S):
            pass

    async def _serve_until_told(self, servicer: RewriteServicer) -> None:
        """Waits for the end; says from time to time, and last, how the caches do, and drops from them whom other
        processes have forgotten meanwhile."""
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _CACHES_EVERY_S)
            if not self._stop.is_set():
                await servicer.drop_forgotten()
            self._log.info("caches", **servicer.cache_figures())

    async def _open_door(self, access: Access, servicer: RewriteServicer) -> Exit:
        """Opens the socket by which the console asks, where there is one."""
        if self._inside is None:
            return Exit.OK
        from rewrite_service.console.door import open_door

        try:
            self._door = await open_door(self._inside, self._bundle, self._settings, access, servicer)
        except RuntimeError:
            self._log.error("cannot open the console's Unix socket on this machine; unset console_port")
            return Exit.ADDRESS
        return Exit.OK

    async def _tend_console(self) -> None:
        while self._console is not None:
            self._console.tend()
            await asyncio.sleep(_LOOK_SECONDS)

    def _server(self, servicer: RewriteServicer) -> grpc.aio.Server:
        server = grpc.aio.server(
            options=[
                # A second server on the port is a mistake, and should hear of it; workers share one.
                ("grpc.so_reuseport", int(self._settings.workers > 1)),
                *server_options(self._settings),
            ]
        )
        server.add_generic_rpc_handlers((servicer.handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._settings.tokens_file is None:  # reflection asks nobody who they are
            names = (SERVICE_NAME, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        return server

    async def _listen(
        self, server: grpc.aio.Server, servicer: RewriteServicer, certificates: Certificates | None
    ) -> int | None:
        """Opens the ports that calls come to. The number of gRPC's; None where one cannot be had."""
        try:
            port = listen(server, self._settings.host, self._settings.port, certificates)
        except RuntimeError:
            self._log.error(
                f"cannot listen on {self._settings.host}:{self._settings.port}: it is taken, or not an address of "
                "this machine; set another with --host and --port"
            )
            return None
        await server.start()
        return port if await self._open_http(servicer, certificates) else None

    async def _open_http(self, servicer: RewriteServicer, certificates: Certificates | None) -> bool:
        """Opens the door for JSON over HTTP, where settings have one. False where its port cannot be had."""
        host, port = self._settings.host, self._settings.http_port
        if port is None:
            return True
        from rewrite_service.http_door.listener import HttpListener

        self._http = HttpListener(servicer, self._settings)
        try:
            bound = await self._http.open(certificates)
        except OSError as error:
            self._log.error(f"cannot listen on {host}:{port} for HTTP: {error.strerror}; set another http_port")
            return False
        self._log.info(f"HTTP on {host}:{bound}", http_address=f"{host}:{bound}")
        return True

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
        def load() -> Pipeline:
            from rewrite_service.swap.swapper import Swapper  # only now: it is heavy, and health answers already

            self._swapper = Swapper(self._bundle, self._settings)
            pipeline = self._swapper.open()
            spare_full_collections()
            return pipeline

        try:
            await servicer.open(load)
            assert self._swapper is not None  # as `load` has made it
            self._swapper.start(servicer.take)
        except (BundleError, StoreError) as error:  # they speak of files, never of what anybody said
            self._log.error("cannot serve", error=type(error).__name__, message=str(error))
            return Exit.BUNDLE if isinstance(error, BundleError) else Exit.STORE
        except Exception as error:
            self._log.error("cannot serve", **error_fields(error, self._settings.log_texts))
            return Exit.FAILED
        return Exit.OK

    async def _drain(self, server: grpc.aio.Server, servicer: RewriteServicer) -> None:
        """Refuses what is new, lets what is under way finish within the grace, cuts the rest.

        gRPC's own stop comes last: calls that reach the socket in the very moment of it end as CANCELLED without
        having begun, so it waits until the callers have heard that they should go elsewhere.
        """
        self._log.info("draining", under_way=servicer.under_way)
        await self._health.enter_graceful_shutdown()
        try:
            await asyncio.wait_for(servicer.drain(_QUIET_SECONDS), self._settings.drain_seconds)
        except TimeoutError:
            self._log.warning("drain ended early", cut=servicer.under_way)
        if self._admin is not None:
            await self._admin.stop(_FLUSH_SECONDS)
        if self._http is not None:
            await self._http.close(_FLUSH_SECONDS)
        if self._door is not None:
            await self._door.stop(_FLUSH_SECONDS)
        # Not a greater grace: health watchers never end by themselves.
        await server.stop(_FLUSH_SECONDS)
        looked = self._swapper is None or self._swapper.close(_WORKER_SECONDS)
        servicer.close(_WORKER_SECONDS, in_use=not looked)
        self._log.info("stopped")

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in _HEALTH_NAMES:
            await self._health.set(name, status)
