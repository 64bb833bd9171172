//! Descriptors that a client passes on a Unix socket (`SCM_RIGHTS`, unix(7)).

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::runtime::Handle;

use crate::limits::{AHEAD, DESCRIPTORS_AT_ONCE, DESCRIPTORS_MAX};
use crate::reader::{Misused, Wire};

/// The reading half of a Unix socket. Descriptors wait in the order in which they came, which is that of their commands.
#[derive(Debug)]
pub(crate) struct Local {
    half: OwnedReadHalf,
    waiting: VecDeque<OwnedFd>,
    /// More came than were kept.
    misused: bool,
}

impl Local {
    pub(crate) fn new(half: OwnedReadHalf) -> Self {
        Self { half, waiting: VecDeque::new(), misused: false }
    }

    fn keep(&mut self, came: Vec<OwnedFd>, cut: bool) {
        self.misused |= cut || came.len() > DESCRIPTORS_AT_ONCE || self.waiting.len() + came.len() > DESCRIPTORS_MAX;
        // Those of one who misuses them are closed at once.
        if self.misused {
            close(self.waiting.drain(..).chain(came).collect());
        } else {
            self.waiting.extend(came);
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        close(self.waiting.drain(..).collect());
    }
}

/// Closes what nobody asked about where that may take its time: a socket that lingers takes as long as it likes.
fn close(unwanted: Vec<OwnedFd>) {
    if !unwanted.is_empty()
        && let Ok(runtime) = Handle::try_current()
    {
        runtime.spawn_blocking(move || drop(unwanted));
    }
}

impl Wire for Local {
    fn descriptor(&mut self) -> Result<Option<OwnedFd>, Misused> {
        if self.misused { Err(Misused) } else { Ok(self.waiting.pop_front()) }
    }
}

impl AsyncRead for Local {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // The call wants bytes that have a value: to give all the room there is one takes longer than what mostly comes is worth.
        let room = out.remaining().min(AHEAD);
        loop {
            let stream: &UnixStream = this.half.as_ref();
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_io(Interest::READABLE, || receive(stream, out.initialize_unfilled_to(room))) {
                Ok(received) => {
                    out.advance(received.bytes);
                    this.keep(received.descriptors, received.cut);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

struct Received {
    bytes: usize,
    descriptors: Vec<OwnedFd>,
    /// There were more of them than have room.
    cut: bool,
}

fn receive(stream: &UnixStream, into: &mut [u8]) -> io::Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let told = recvmsg(stream, &mut [IoSliceMut::new(into)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(came) = message {
            descriptors.extend(came);
        }
    }
    Ok(Received { bytes: told.bytes, descriptors, cut: told.flags.contains(ReturnFlags::CTRUNC) })
}
