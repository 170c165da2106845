//! Servers and clients for the machines of a lab.
//!
//! `serve tcp|udp ADDRESS NAME` answers every connection or datagram with its name and whom it saw; `ask tcp|udp ADDRESS COUNT
//! [SIZE]` makes so many connections, one after the other, and prints a line for each: the answer, or why there is none.

#![allow(clippy::print_stdout)] // What it saw is its output.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// Longer than a lost packet is sent again.
const PATIENCE: Duration = Duration::from_secs(4);

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", "tcp", at, name] => serve_tcp(at, name),
        ["serve", "udp", at, name] => serve_udp(at, name),
        ["ask", proto, at, count] => ask(proto, at, count, "1"),
        ["ask", proto, at, count, size] => ask(proto, at, count, size),
        _ => Err(std::io::Error::other(
            "serve tcp|udp ADDRESS NAME or ask tcp|udp ADDRESS COUNT [SIZE]",
        )),
    }
}

fn serve_tcp(at: &str, name: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(at)?;
    println!("ready");
    loop {
        let (mut stream, from) = listener.accept()?;
        let _ = stream.write_all(format!("{name} {}\n", from.ip()).as_bytes());
    }
}

fn serve_udp(at: &str, name: &str) -> std::io::Result<()> {
    let socket = UdpSocket::bind(at)?;
    println!("ready");
    let mut buffer = vec![0; 65536];
    loop {
        let (len, from) = socket.recv_from(&mut buffer)?;
        // As long as what came, so that both ways are fragmented alike.
        let mut answer = format!("{name} {} {len}\n", from.ip()).into_bytes();
        answer.resize(answer.len().max(len), b'.');
        let _ = socket.send_to(&answer, from);
    }
}

fn ask(proto: &str, at: &str, count: &str, size: &str) -> std::io::Result<()> {
    let bad = |what: &str| std::io::Error::other(what.to_owned());
    let to: SocketAddr = at.parse().map_err(|_| bad("address"))?;
    let count: usize = count.parse().map_err(|_| bad("count"))?;
    let size: usize = size.parse().map_err(|_| bad("size"))?;
    for _ in 0..count {
        let answer = match proto {
            "tcp" => ask_tcp(to),
            _ => ask_udp(to, size),
        };
        match answer {
            Ok(answer) => println!("{}", answer.lines().next().unwrap_or_default()),
            Err(why)
                if matches!(
                    why.kind(),
                    ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset
                ) =>
            {
                println!("refused")
            }
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                println!("silence")
            }
            Err(why) => println!("{why}"),
        }
    }
    Ok(())
}

fn ask_tcp(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_udp(to: SocketAddr, size: usize) -> std::io::Result<String> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&vec![b'x'; size])?;
    let mut buffer = vec![0; 65536];
    let len = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
}
