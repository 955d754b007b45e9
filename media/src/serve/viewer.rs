//! One who watches: a place in a stream, and the body of the answer that it feeds.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use record::Timestamp;
use tokio::sync::watch;

use super::Server;
use super::connection::Activity;
use super::stream::{Cursor, Stream};

/// A viewer; counted while it lives.
pub(super) struct Viewer {
    server: Arc<Server>,
    stream: Arc<Stream>,
    cursor: Cursor,
    end: watch::Receiver<u64>,
}

impl Viewer {
    /// A viewer of `stream`, if there may be another.
    pub(super) fn new(server: &Arc<Server>, stream: Arc<Stream>) -> Option<Self> {
        let others = server.viewers.fetch_add(1, Ordering::Relaxed);
        stream.counters.viewers.fetch_add(1, Ordering::Relaxed);
        let viewer = Self {
            server: Arc::clone(server),
            cursor: Cursor::default(),
            end: stream.watch(),
            stream,
        };
        (others < server.config.limits.viewers_max).then_some(viewer)
    }

    /// The next bytes, as soon as there are any; `None` when the stream has ended for good.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Seen before it is looked at, so that what comes in between is not missed.
            self.end.borrow_and_update();
            if let Some(bytes) = self.stream.take(&mut self.cursor, Timestamp::now()) {
                return Some(bytes);
            }
            self.end.changed().await.ok()?;
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.stream.counters.viewers.fetch_sub(1, Ordering::Relaxed);
        self.server.viewers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The wait for a viewer's next bytes; it gives the viewer back.
type Wait = Pin<Box<dyn Future<Output = (Viewer, Option<Bytes>)> + Send>>;

/// Body of an answer.
pub(super) enum Body {
    /// A text or a page.
    Whole(Option<Bytes>),
    /// A stream.
    Stream { wait: Wait, activity: Arc<Activity> },
}

impl Body {
    pub(super) fn of(viewer: Viewer, activity: Arc<Activity>) -> Self {
        Self::Stream {
            wait: wait(viewer),
            activity,
        }
    }
}

fn wait(mut viewer: Viewer) -> Wait {
    Box::pin(async move {
        let bytes = viewer.next().await;
        (viewer, bytes)
    })
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream {
                wait: waiting,
                activity,
            } => match waiting.as_mut().poll(context) {
                Poll::Ready((viewer, bytes)) => {
                    activity.peer(Instant::now());
                    *waiting = wait(viewer);
                    Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
                }
                Poll::Pending => {
                    activity.ours();
                    Poll::Pending
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Stream { .. } => SizeHint::default(),
        }
    }
}
