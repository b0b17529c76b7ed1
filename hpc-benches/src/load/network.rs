//! Network load: over the loopback interface, so that no other machine is disturbed. A stream in large blocks and
//! round trips of small messages, each with a partner thread.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

const BLOCK: usize = 64 << 10;
const BLOCKS_PER_ROUND: usize = 16;
const MESSAGE: usize = 64;
const MESSAGES_PER_ROUND: usize = 100;

/// Two connections of this process with itself.
pub struct Loopback {
    stream: TcpStream,
    round_trips: TcpStream,
    block: Vec<u8>,
}

impl Loopback {
    /// Connects. The partners run on the core that the calling thread may use.
    pub fn new() -> io::Result<Self> {
        let (stream, mut sink) = connection()?;
        let (round_trips, mut echo) = connection()?;
        start("sink", move || {
            let mut block = vec![0; BLOCK];
            while matches!(sink.read(&mut block), Ok(1..)) {}
        })?;
        start("echo", move || {
            let mut message = [0; MESSAGE];
            while echo.read_exact(&mut message).and_then(|()| echo.write_all(&message)).is_ok() {}
        })?;
        Ok(Self { stream, round_trips, block: vec![0; BLOCK] })
    }

    /// A MiB of stream, and a hundred round trips.
    pub fn round(&mut self) -> io::Result<()> {
        for _ in 0..BLOCKS_PER_ROUND {
            self.stream.write_all(&self.block)?;
        }
        let mut message = [0; MESSAGE];
        for number in 0..MESSAGES_PER_ROUND {
            message.fill(number as u8);
            self.round_trips.write_all(&message)?;
            message.fill(0xFF);
            self.round_trips.read_exact(&mut message)?;
            if message[0] != number as u8 {
                return Err(io::Error::other("a message came back changed"));
            }
        }
        Ok(())
    }
}

fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    // Another process may have been faster to connect.
    let far = loop {
        let (far, from) = listener.accept()?;
        if from == near.local_addr()? {
            break far;
        }
    };
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn start(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_there_and_back() {
        let mut loopback = Loopback::new().unwrap();
        loopback.round().unwrap();
        loopback.round().unwrap();
    }

    #[test]
    fn what_goes_in_on_one_end_comes_out_on_the_other() {
        let (mut near, mut far) = connection().unwrap();
        near.write_all(b"there").unwrap();
        let mut word = [0; 5];
        far.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"there");
    }
}
