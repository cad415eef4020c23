//! The listener, the signals and the drain.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::failure::{Result, address_failure, machine_failure};
use crate::http;
use crate::options::Options;
use crate::room::{Hub, Rooms};

/// Connections that the kernel keeps for us to accept.
const BACKLOG: u32 = 4096;
/// Files beside those of the WebSocket connections: requests that are no upgrade, and our own.
const SPARE_FILES: u64 = 2048;
/// Tasks that run before the loop looks for what has come. With many receivers of a message, all of
/// them are served first, and what came meanwhile goes out together.
const TASKS_A_TURN: u32 = 1024;
/// A pause when the process has no more files for connections.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
pub struct Server {
    pub options: Options,
    pub hub: Arc<Hub>,
}

impl Server {
    pub fn new(options: Options) -> Arc<Self> {
        let rooms = Rooms::new(options.max_connections, options.queue, options.history);
        let hub = Hub::new(rooms);
        Arc::new(Self { options, hub })
    }
}

/// Serves until a signal, and drains.
pub fn serve(options: Options) -> Result<()> {
    limit_files(options.max_connections as u64);
    let runtime = new_runtime(options.threads)?;
    let outcome = runtime.block_on(run(options));
    runtime.shutdown_background();
    outcome
}

/// As many open files as the options need, and no more: so the kernel bounds the connections that
/// never become a WebSocket. Where the hard limit is lower, that is the bound.
fn limit_files(max_connections: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = max_connections + SPARE_FILES;
    let current = limit.maximum.map_or(wanted, |most| most.min(wanted));
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(current),
            maximum: limit.maximum,
        },
    );
}

fn new_runtime(threads: usize) -> Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads).event_interval(TASKS_A_TURN);
    let built = builder.enable_all().build();
    built.map_err(|error| machine_failure("threads", &error))
}

async fn run(options: Options) -> Result<()> {
    let mut stop = Stop::new()?;
    let listener = listen(options.listen, &options.listen_text)?;
    let address = listener.local_addr();
    let address = address.map_err(|error| machine_failure("listen", &error))?;
    crate::print_text(&format!("listening on {address}\n"))?;

    let server = Server::new(options);
    let routes = http::routes(&server);
    first_of(stop.wait(), accept_all(listener, &routes)).await;
    let draining = timeout(server.options.drain_timeout, server.hub.drain());
    first_of(stop.wait(), async { drop(draining.await) }).await;
    Ok(())
}

fn listen(address: SocketAddr, shown: &str) -> Result<TcpListener> {
    let open = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|error| address_failure("--listen", shown, &error))
}

/// Accepts until it is dropped, and with it the listener.
async fn accept_all(listener: TcpListener, routes: &Router) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Without it the kernel would hold back what is written in two parts.
                let _ = stream.set_nodelay(true);
                tokio::spawn(http::serve(stream, routes.clone()));
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// The signals that end the server.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> Result<Self> {
        let open = |kind| signal(kind).map_err(|error| machine_failure("signals", &error));
        Ok(Self {
            terminate: open(SignalKind::terminate())?,
            interrupt: open(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        poll_fn(|context| {
            let is_told = self.terminate.poll_recv(context).is_ready()
                || self.interrupt.poll_recv(context).is_ready();
            if is_told {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// Waits for whichever ends first, and drops the other.
async fn first_of(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|context| {
        if one.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        other.as_mut().poll(context)
    })
    .await;
}
