#!/usr/bin/env python3
"""nginx or haproxy under the command line of a lane, to prove the oracle on programs that the world relies on.

PEER=nginx (or haproxy) chooses. The options of a lane become a configuration, SIGTERM becomes the peer's own orderly
end. DIFFERS names the checks in which a peer behaves otherwise by design, and how; on all others it must pass.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NGINX = """
daemon off;
master_process off;
pid {run}/nginx.pid;
error_log {run}/error.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {run}/body; proxy_temp_path {run}/proxy; fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi; scgi_temp_path {run}/scgi;
    keepalive_requests 1000000; keepalive_timeout {idle_timeout}s; client_header_timeout {header_timeout}s;
    client_max_body_size {max_body_bytes}; client_header_buffer_size 1k;
    large_client_header_buffers 4 {max_header_bytes};
    underscores_in_headers on; ignore_invalid_headers off; merge_slashes off; server_tokens off;
    lingering_close off;
    map $http_upgrade $hop {{ default upgrade; '' ''; }}
    map $http_via $via {{ default "$http_via, 1.1 deadheat"; '' "1.1 deadheat"; }}
    map $http_x_forwarded_host $forwarded_host {{ default $http_x_forwarded_host; '' $http_host; }}
    upstream pool {{
        {balance}
        {servers}
        keepalive {pool_size}; keepalive_requests 1000000;
    }}
    server {{
        listen {listen} backlog=4096;
        location / {{
            proxy_pass http://pool;
            proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
            proxy_connect_timeout {connect_timeout}s; proxy_read_timeout {read_timeout}s;
            proxy_next_upstream error timeout invalid_header; proxy_next_upstream_tries {tries};
            proxy_buffer_size 64k; proxy_buffers 4 64k; proxy_busy_buffers_size 64k;
            proxy_set_header Connection $hop; proxy_set_header Upgrade $http_upgrade; proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto http;
            proxy_set_header X-Forwarded-Host $forwarded_host; proxy_set_header Via $via;
            proxy_pass_header Server; proxy_pass_header Date;
            add_header Via "1.1 deadheat" always;
        }}
    }}
}}
"""

HAPROXY = """
global
    maxconn 3000
    nbthread 1
    tune.bufsize 65536
    tune.maxrewrite 8192
    tune.http.maxhdr 2000
defaults
    mode http
    timeout connect {connect_timeout}s
    timeout client {idle_timeout}s
    timeout http-keep-alive {idle_timeout}s
    timeout server {read_timeout}s
    timeout tunnel {idle_timeout}s
    timeout http-request {header_timeout}s
    retries {retries}
    option redispatch 1
    retry-on conn-failure empty-response
    option forwardfor
    http-reuse always
    no option http-buffer-request
frontend front
    bind {listen} backlog 4096
    http-request set-header X-Forwarded-Proto http
    http-request set-header X-Forwarded-Host %[req.hdr(host)] unless {{ req.hdr(x-forwarded-host) -m found }}
    http-request add-header Via "1.1 deadheat"
    http-response add-header Via "1.1 deadheat"
    default_backend pool
backend pool
    balance {balance}
    {servers}
"""
DEFAULTS = {
    "balance": "round-robin", "hash-header": "", "pool-size": "64", "max-connections": "10000", "connect-timeout": "1",
    "read-timeout": "30", "idle-timeout": "60", "header-timeout": "10", "drain-timeout": "5",
    "max-header-bytes": "16384", "max-body-bytes": "0", "health-path": "", "health-interval": "2",
    "health-timeout": "1", "rise": "2", "fall": "3", "max-fails": "3", "fail-timeout": "10", "retries": "1",
    "threads": "1",
}  # fmt: skip
NGINX_TAKES = """
    behind-two-spaces-after-method bracket-in-name chunk-apart-data-bare-lf chunk-apart-size-bare-lf
    chunk-apart-trailer-bare-lf chunk-data-bare-lf chunk-data-shorter chunk-end-bare-lf chunk-extension-bare-lf
    chunk-extension-control chunk-extension-nul chunk-last-bare-lf chunk-size-bare-lf chunk-size-inner-space
    chunk-trailer-bare-lf chunk-trailer-empty-name chunk-trailer-fold chunk-trailer-no-colon chunk-trailer-nul
    chunk-trailer-space-before-colon chunk-trailer-space-in-name cr-cr-lf cr-first high-byte-in-name http2-preface
    lf-all lf-empty-line lf-first lf-header lf-hides-cl lf-in-target lf-last-header lf-request-line no-version
    one-reading-control-in-value quote-in-name separator-in-name slash-in-name trailing-space
    two-spaces-after-method two-spaces-before-version version-two-digits
"""
NGINX_BELIEVES = """
    100-then-close 101-unasked binary cl-and-te cl-different cl-empty cl-hex cl-inner-space cl-list-different
    cl-minus cl-overflow cl-plus cl-word garbage head http2 in-a-pipeline other-protocol request-instead status-000
    status-four-digits status-letters status-missing status-sign status-two-digits te-and-cl te-chunked-first
    te-twice te-unknown to-a-post version-lower-case
"""
HAPROXY_TAKES = """
    behind-cl-then-te behind-fold-te behind-host-twice behind-lf-hides-te behind-nul-in-value behind-te-unknown
    behind-two-spaces-after-method behind-version-2.0 chunk-apart-data-bare-lf chunk-apart-size-bare-lf
    chunk-apart-trailer-bare-lf chunk-data-bare-lf chunk-data-shorter chunk-end-bare-lf chunk-extension-bare-lf
    chunk-extension-control chunk-extension-nul chunk-last-bare-lf chunk-size-bare-lf chunk-trailer-bare-lf
    chunk-trailer-fold chunk-trailer-nul chunk-trailer-space-before-colon chunk-trailer-space-in-name cl-0-and-te
    cl-list-no-space cl-list-same cl-nominated-te cl-on-get-list cl-te-apart cl-te-in-http10
    cl-te-nominated-by-connection cl-te-on-get cl-te-other-case cl-then-te fold-cl fold-hides-te fold-only-space
    fold-space fold-tab fold-te host-missing host-missing-absolute host-missing-no-headers host-twice
    host-twice-absolute http2-preface lf-all lf-empty-line lf-first lf-header lf-hides-cl lf-hides-te lf-last-header
    lf-request-line nul-in-value one-reading-control-in-value one-reading-te-in-http10 pieces-cl-then-te
    pieces-fold-te pieces-lf-hides-te pieces-te-unknown tab-after-method tab-before-version target-absolute-no-host
    target-asterisk-get target-delete te-comma-first te-comma-last te-gzip te-gzip-chunked te-on-get-unknown
    te-then-cl te-two-lines-different-first te-unknown two-cl-and-te two-spaces-after-method
    two-spaces-before-version version-0.9 version-2.0 version-3.0
"""
PEERS_TAKE = """
    chunk-extension-5000-bytes chunk-size-17-digits chunk-size-64-bits chunk-trailer-20000-bytes host-form-*
    target-authority-bad-port target-authority-only-port target-authority-user target-fragment target-high-byte
"""
HAPROXY_BELIEVES = """
    100-then-close cl-and-te cl-overflow fold head-of-60k-passes http2 many-headers-pass nul-in-value status-000
    status-four-digits status-two-digits te-and-cl
"""
OTHER_PROGRAM = "its command line, counters and manual are its own"
NO_ACTIVE_CHECKS = "the adapter configures no health checks"
KEEPS_NOMINATED = "keeps headers that Connection names"
LENIENT = "takes heads, chunks or responses that RFC 9112 lets a recipient refuse, and passes on what it read"
OWN_LIMITS = "has limits of its own, and other statuses for them"
OWN_EJECTION = "counts failures in another way"
OTHER_WINDOWS = "another reading of RFC 9110 9.2.2: what was sent to a backend may be sent again"


def among(area: str, names: str) -> str:
    """Return names of checks of an area as globs."""
    return ",".join(f"{area}/{name}" for name in names.split())


DIFFERS: dict[str, dict[str, str]] = {
    "nginx": {
        "options/*,metrics/*": OTHER_PROGRAM,
        "health/*": NO_ACTIVE_CHECKS,
        "headers/*-removed-nominated*,headers/*-removed-proxy-connection": KEEPS_NOMINATED,
        "headers/*-removed-upgrade-alone": "passes Upgrade on as it came",
        "headers/request-te-trailers-kept,framing/*-trailers,truncation/bad-chunk-trailer-*": "knows no trailers",
        "headers/appended-via-lines": "$http_via is the first of several lines",
        "headers/forwarded-host-absolute-form,target/absolute-form*": "$http_host is the Host line, not the authority",
        "target/options-asterisk,target/percent": "its paths are names of files",
        "framing/method-*": "knows its methods; TRACE is refused",
        "framing/request-chunked-*,cuts/request-post-chunked": "gives a short chunked body a length",
        "interim/*": "one interim response at most, 100 of its own, and 103 to anybody",
        among("bad-response", NGINX_BELIEVES): "takes nearly anything for a response of HTTP/0.9",
        "least-connections/broken-*,ejection/*": OWN_EJECTION,
        "retries/reset-TRACE,retries/not-*,poison/stale-connection-race-put": OTHER_WINDOWS,
        "truncation/http10-client": "ends in an orderly way where no length was promised",
        "timeouts/header-408*,timeouts/slow-loris": "closes without 408",
        "limits/head-*,limits/connect*": OWN_LIMITS,
        "tunnel/*-half-closes,tunnel/bytes-in-the-packet-of-the-request": "a tunnel ends with one of its directions",
        "tunnel/idle-timeout,tunnel/silence-*": "proxy_read_timeout is the time-out of tunnels",
        "drain/*": "without a master process it ends at once",
        among("smuggling", NGINX_TAKES): LENIENT,
        among("smuggling", PEERS_TAKE) + ",target/host-form-*": LENIENT,
        "*/backends-got-only-sound-requests,mutations/*": LENIENT,
    },
    "haproxy": {
        "options/*,metrics/*": OTHER_PROGRAM,
        "health/*": NO_ACTIVE_CHECKS,
        "headers/*-removed-*,headers/*-keep-alive-value-*": KEEPS_NOMINATED,
        "headers/added-spelling": "writes all names in lower case",
        "headers/forwarded-host-absolute-form,target/absolute-form*,cuts/request-absolute": (
            "refuses an authority that is not the Host"
        ),
        "headers/via-of-http10-request,http10/*,interim/not-to-http10": "asks its backends in the client's version",
        "keep-alive/http10-backend-keeps-alive": "answers its clients in the backend's version",
        "framing/response-until-close-*": "a body without a length ends with the client's connection, too",
        "cuts/response-interim": "waits for more when a 103 and the final head meet in its buffer",
        "same-as-nginx/expect-continue-on-get": "stops at an interim response that nobody waited for",
        among("bad-response", HAPROXY_BELIEVES): LENIENT,
        "ejection/*,retries/refused-connection-off,timeouts/connect-504": OWN_EJECTION,
        "retries/not-*,poison/stale-connection-race-put": OTHER_WINDOWS,
        "poison/stale-connection-race-post": "closes without a status when a reused connection ends",
        "truncation/until-close-reset,truncation/http10-client": "ends in an orderly way where no length was promised",
        "limits/head-*,limits/body-*,limits/connect*,limits/target-*": OWN_LIMITS,
        "tunnel/backend-half-closes": "a tunnel ends with its backend",
        "drain/*,live/ends-well": "its soft stop leaves idle clients alone",
        among("smuggling", HAPROXY_TAKES): LENIENT,
        among("smuggling", PEERS_TAKE) + ",target/host-form-*": LENIENT,
        "*/backends-got-only-sound-requests,mutations/*": LENIENT,
    },
}


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def nginx_words(options: argparse.Namespace, run: Path, listen: str) -> list[str]:
    """Write a configuration of nginx; return its command line."""
    balance = {"round-robin": "", "least-connections": "least_conn;", "hash": "hash $remote_addr consistent;"}[
        options.balance
    ]
    if options.balance == "hash" and options.hash_header:
        balance = f"hash $http_{options.hash_header.lower().replace('-', '_')} consistent;"
    fails = min(int(options.max_fails), 1000)
    servers = "\n".join(
        f"server {name} max_fails={fails} fail_timeout={max(1, round(float(options.fail_timeout)))}s;"
        for name in options.backends.split(",")
    )
    values = {key: str(value) for key, value in vars(options).items()}
    for key in ("idle_timeout", "header_timeout", "connect_timeout", "read_timeout"):
        values[key] = f"{float(values[key]) * 1000:.0f}m"  # NNNms
    values |= {"run": str(run), "listen": listen, "servers": servers, "balance": balance}
    config = run / "nginx.conf"
    config.write_text(NGINX.format(**values, tries=int(options.retries) + 1), encoding="utf-8")
    words = [
        shutil.which("nginx", path="/usr/sbin:/usr/bin") or "nginx",
        "-e",
        str(run / "error.log"),
        "-c",
        str(config),
    ]
    return [*words, "-g", "user root;"] if os.geteuid() == 0 else words


def haproxy_words(options: argparse.Namespace, run: Path, listen: str) -> list[str]:
    """Write a configuration of haproxy; return its command line."""
    balance = {"round-robin": "roundrobin", "least-connections": "leastconn", "hash": "source"}[options.balance]
    tail = "\n    hash-type consistent" if options.balance == "hash" else ""
    if options.balance == "hash" and options.hash_header:
        balance = f"hdr({options.hash_header})"
    servers = "\n    ".join(
        f"server s{number} {name} pool-max-conn {options.pool_size}"
        for number, name in enumerate(options.backends.split(","))
    )
    values = {key: str(value) for key, value in vars(options).items()}
    for key in ("idle_timeout", "header_timeout", "connect_timeout", "read_timeout"):
        values[key] = f"{float(values[key]) * 1000:.0f}m"
    values |= {"listen": listen, "servers": servers, "balance": balance + tail}
    config = run / "haproxy.cfg"
    config.write_text(HAPROXY.format(**values), encoding="utf-8")
    return [shutil.which("haproxy", path="/usr/sbin:/usr/bin") or "haproxy", "-db", "-f", str(config)]


PEERS = {"nginx": (nginx_words, signal.SIGQUIT), "haproxy": (haproxy_words, signal.SIGUSR1)}


def parse() -> argparse.Namespace:
    """Read a lane's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--backends", required=True)
    parser.add_argument("--admin")
    for name, value in DEFAULTS.items():
        parser.add_argument(f"--{name}", default=value)
    return parser.parse_args()


def die_with_parent() -> None:
    """Let no peer outlive its adapter."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def main() -> int:
    """Run a peer."""
    options = parse()
    words, orderly_end = PEERS[os.environ["PEER"]]
    host = options.listen.rpartition(":")[0]
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        argv = words(options, Path(folder), f"{host}:{port}")
        child = subprocess.Popen(argv, preexec_fn=die_with_parent, stdout=subprocess.DEVNULL)  # noqa: PLW1509 - one thread
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: child.send_signal(orderly_end))
        while child.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), port)):
                break
            time.sleep(0.01)
        if child.poll() is None:
            print(f"listening on {host}:{port}", flush=True)
        return child.wait()


if __name__ == "__main__":
    sys.exit(main())
