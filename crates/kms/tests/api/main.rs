//! What the KMS API answers: a table of requests, over a socket.

mod auth;
mod grants;
mod lists;
mod rights;
mod states;
mod table;
mod world;
