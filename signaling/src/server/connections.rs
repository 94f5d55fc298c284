//! Caps on open TCP connections, in all and for each address (of IPv6: each network). Addresses are
//! in memory only, for as long as a connection is open.

use std::{
    io,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum_server::accept::Accept;
use dashmap::DashMap;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use tower_http::add_extension::AddExtension;

use super::opening::Opening;
use crate::{
    api::{App, Local, network},
    metrics::Metrics,
};

/// Counts connections and refuses those above a cap.
#[derive(Clone)]
pub(super) struct Capped<A> {
    inner: A,
    table: Arc<Table>,
}

struct Table {
    metrics: Arc<Metrics>,
    total_max: u32,
    address_max: u32,
    addresses: DashMap<IpAddr, u32>,
}

/// A counted connection; dropping it gives its place back.
struct Place {
    table: Arc<Table>,
    address: IpAddr,
}

/// A stream that holds its place.
pub(super) struct Held<S> {
    stream: S,
    /// Until the protocol is known.
    opening: Option<Opening>,
    _place: Place,
}

impl<A> Capped<A> {
    pub(super) fn new(inner: A, app: &App) -> Self {
        let table = Table {
            metrics: Arc::clone(&app.metrics),
            total_max: app.config.connections_max,
            address_max: app.config.connections_per_address_max,
            addresses: DashMap::new(),
        };
        Self { inner, table: Arc::new(table) }
    }
}

impl Place {
    /// `None` above a cap. A proxy on this machine (loopback) has only the cap on all.
    fn take(table: &Arc<Table>, address: IpAddr) -> Option<Self> {
        let refuse = |reason| {
            table.metrics.connections_refused.with_label_values(&[reason]).inc();
            None
        };
        if table.metrics.connections.get() >= i64::from(table.total_max) {
            return refuse("total");
        }
        let mut count = table.addresses.entry(address).or_insert(0);
        if *count >= table.address_max && !address.is_loopback() {
            return refuse("address");
        }
        *count += 1;
        drop(count);
        table.metrics.connections.inc();
        Some(Self { table: Arc::clone(table), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.metrics.connections.dec();
        self.table.addresses.remove_if_mut(&self.address, |_, count| {
            *count = count.saturating_sub(1);
            *count == 0
        });
    }
}

impl<A, S> Accept<TcpStream, S> for Capped<A>
where
    A: Accept<TcpStream, S> + Clone + Send + 'static,
    A::Future: Send,
    A::Stream: Send,
    A::Service: Send,
    S: Send + 'static,
{
    type Stream = Held<A::Stream>;
    type Service = AddExtension<A::Service, Local>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let (inner, table) = (self.inner.clone(), Arc::clone(&self.table));
        Box::pin(async move {
            let address = network(stream.peer_addr()?.ip());
            let refused = || io::Error::other("above the cap on connections");
            let place = Place::take(&table, address).ok_or_else(refused)?;
            let local = Local(stream.local_addr()?.ip());
            stream.set_nodelay(true)?;
            let (stream, service) = inner.accept(stream, service).await?;
            let service = AddExtension::new(service, local);
            Ok((Held { stream, opening: Some(Opening::new()), _place: place }, service))
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(opening) = &mut self.opening {
            match &read {
                Poll::Pending if opening.poll_late(cx).is_ready() => {
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
                Poll::Ready(Ok(())) if opening.is_over(&buf.filled()[before..]) => {
                    self.opening = None;
                }
                _ => {}
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
