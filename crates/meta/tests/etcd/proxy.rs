//! A TCP proxy before a member, which loses answers or holds what passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Bytes of a request that is a transaction of ours; pings, acknowledgements and reads of one row are smaller.
const TRANSACTION: usize = 150;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Holding {
    Nothing,
    Requests,
    Answers,
}

pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    lose_next: AtomicBool,
    lost: AtomicU64,
    holding: watch::Sender<Holding>,
}

impl Proxy {
    /// To a member on this port of 127.0.0.1.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let holding = watch::Sender::new(Holding::Nothing);
        let shared = Arc::new(Shared { lose_next: AtomicBool::new(false), lost: AtomicU64::new(0), holding });
        let all = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, to, Arc::clone(&all)));
            }
        });
        Self { port, shared }
    }

    /// The next transaction gets through to the member; its answer does not come back, and the connection ends.
    pub fn lose_next_answer(&self) {
        self.shared.lose_next.store(true, Ordering::SeqCst);
    }

    /// Answers that were lost so.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Answers do not pass from now on.
    pub fn hold_answers(&self) {
        self.shared.holding.send_replace(Holding::Answers);
    }

    /// Requests do not pass from now on.
    pub fn hold_requests(&self) {
        self.shared.holding.send_replace(Holding::Requests);
    }

    /// Everything passes, also what was held.
    pub fn let_through(&self) {
        self.shared.holding.send_replace(Holding::Nothing);
    }
}

async fn pass(mut client: TcpStream, to: u16, shared: Arc<Shared>) {
    let Ok(mut member) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_member, mut to_member) = member.split();
    let losing = AtomicBool::new(false);
    let mut holding = shared.holding.subscribe();
    let requests = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            let _ = holding.wait_for(|holding| *holding != Holding::Requests).await;
            if count >= TRANSACTION && shared.lose_next.swap(false, Ordering::SeqCst) {
                losing.store(true, Ordering::SeqCst);
            }
            if to_member.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let mut held = shared.holding.subscribe();
    let answers = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(count @ 1..) = from_member.read(&mut buffer).await {
            // A frame of a type below 2, that is headers or data of an answer, and not of a ping or a window.
            let answer = buffer[..count].get(3).is_some_and(|kind| *kind < 2);
            if answer && losing.load(Ordering::SeqCst) {
                shared.lost.fetch_add(1, Ordering::SeqCst);
                return;
            }
            let _ = held.wait_for(|holding| *holding != Holding::Answers).await;
            if to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
}
