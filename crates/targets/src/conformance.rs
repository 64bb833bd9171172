//! What every target must do, whatever it speaks.

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use store::{Message, Target, TargetError};

/// The other end of a target, in the hands of the suite.
#[async_trait]
pub trait Receiver: Send {
    /// How it behaves from now on, on new connections and on those that are open.
    async fn be(&mut self, mood: Mood);
    /// The bodies that it took, in order, and forgets them.
    async fn taken(&mut self) -> Vec<Bytes>;
}

/// How a receiver behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes what comes.
    Fine,
    /// Answers that it does not take it.
    Refusing,
    /// Takes it in, and says nothing.
    Silent,
    /// Does not listen.
    Away,
}

fn message(number: usize, body: impl Into<Bytes>) -> Message {
    Message { id: format!("{number:016X}"), body: body.into() }
}

/// Runs the suite.
///
/// # Panics
/// When the target does not conform.
pub async fn suite(target: &dyn Target, receiver: &mut dyn Receiver) {
    receiver.be(Mood::Fine).await;
    bodies_arrive_as_they_are(target, receiver).await;
    one_after_the_other_keeps_the_order(target, receiver).await;
    at_once_all_arrive(target, receiver).await;
    failures_are_told_and_pass(target, receiver).await;
}

async fn bodies_arrive_as_they_are(target: &dyn Target, receiver: &mut dyn Receiver) {
    let bodies =
        ["{}".to_owned(), "{\"a\":\"\u{e4}\\r\\n+OK\"}".to_owned(), "\r\nPING\r\n".to_owned(), "x".repeat(60_000)];
    for (number, body) in bodies.into_iter().enumerate() {
        assert_eq!(target.send(&message(number, body.clone())).await, Ok(()), "{:.20}", body);
        assert_eq!(receiver.taken().await, [Bytes::from(body)]);
    }
}

async fn one_after_the_other_keeps_the_order(target: &dyn Target, receiver: &mut dyn Receiver) {
    let bodies: Vec<Bytes> = (0..50).map(|i| Bytes::from(format!("{{\"n\":{i}}}"))).collect();
    for (number, body) in bodies.iter().enumerate() {
        assert_eq!(target.send(&message(100 + number, body.clone())).await, Ok(()));
    }
    assert_eq!(receiver.taken().await, bodies);
}

async fn at_once_all_arrive(target: &dyn Target, receiver: &mut dyn Receiver) {
    let messages: Vec<Message> = (0..16).map(|i| message(200 + i, format!("{{\"at\":{i:02}}}"))).collect();
    for sent in join_all(messages.iter().map(|message| target.send(message))).await {
        assert_eq!(sent, Ok(()));
    }
    let mut taken = receiver.taken().await;
    taken.sort();
    assert_eq!(taken, messages.into_iter().map(|message| message.body).collect::<Vec<_>>());
}

async fn failures_are_told_and_pass(target: &dyn Target, receiver: &mut dyn Receiver) {
    for (number, mood) in [Mood::Refusing, Mood::Away, Mood::Silent, Mood::Away, Mood::Refusing].into_iter().enumerate()
    {
        receiver.be(mood).await;
        for attempt in 0..2 {
            let sent = target.send(&message(300 + number, "{}")).await;
            let expected = match sent {
                Err(TargetError::Refused(_)) => Mood::Refusing,
                Err(TargetError::Late(_)) => Mood::Silent,
                Err(TargetError::Unreachable(_)) => Mood::Away,
                Ok(()) => Mood::Fine,
            };
            assert_eq!(expected, mood, "attempt {attempt}: {sent:?}");
        }
        receiver.be(Mood::Fine).await;
        receiver.taken().await;
        assert_eq!(target.send(&message(400 + number, "{\"back\":1}")).await, Ok(()), "after {mood:?}");
        assert_eq!(receiver.taken().await, ["{\"back\":1}"], "after {mood:?}");
    }
}
