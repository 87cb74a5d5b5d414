//! The bytes: what one end does arrives at the other, in both directions.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use portmap_proxy::ProxyMapper;
use socket2::SockRef;
use support::{connect, container, publish};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

/// Runs a test twice: once with the client as its first end, once with the container.
async fn symmetric<F: Future<Output = ()>>(test: impl Fn(TcpStream, TcpStream) -> F) {
    let container = container().await;
    let lease = publish(&ProxyMapper::new(), &container).await;
    let (client, endpoint) = connect(&lease, &container).await;
    test(client, endpoint).await;
    let (client, endpoint) = connect(&lease, &container).await;
    test(endpoint, client).await;
    lease.release().await.unwrap();
}

async fn read_error(stream: &mut TcpStream) -> ErrorKind {
    let read = timeout(Duration::from_secs(5), stream.read(&mut [0; 64])).await;
    read.expect("nothing came within 5 s").expect_err("no error came").kind()
}

#[tokio::test]
async fn what_is_written_arrives() {
    symmetric(async |mut one: TcpStream, mut two: TcpStream| {
        for size in [1, 2, 1459, 16 * 1024 - 1, 16 * 1024, 16 * 1024 + 1, 100_000] {
            let sent: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
            one.write_all(&sent).await.unwrap();
            let mut read = vec![0; size];
            two.read_exact(&mut read).await.unwrap();
            assert!(read == sent, "{size} bytes differ");
        }
    })
    .await;
}

#[tokio::test]
async fn a_half_close_leaves_the_other_direction_open() {
    symmetric(async |mut one: TcpStream, mut two: TcpStream| {
        one.write_all(b"last words").await.unwrap();
        one.shutdown().await.unwrap();
        let mut heard = String::new();
        two.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "last words");

        sleep(Duration::from_millis(50)).await;
        two.write_all(b"an answer, later").await.unwrap();
        drop(two);
        let mut heard = String::new();
        one.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "an answer, later");
    })
    .await;
}

#[tokio::test]
async fn a_reset_arrives_as_a_reset() {
    symmetric(async |one: TcpStream, mut two: TcpStream| {
        one.set_zero_linger().unwrap();
        drop(one);
        assert_eq!(read_error(&mut two).await, ErrorKind::ConnectionReset);
    })
    .await;
}

#[tokio::test]
async fn a_reset_after_a_half_close_is_noticed() {
    symmetric(async |mut one: TcpStream, mut two: TcpStream| {
        one.shutdown().await.unwrap();
        assert_eq!(two.read(&mut [0; 1]).await.unwrap(), 0);
        one.set_zero_linger().unwrap();
        drop(one);
        // Nothing is left to be read from `two`'s peer; its reset shows as an error on the socket.
        let reset = two.ready(tokio::io::Interest::ERROR);
        timeout(Duration::from_secs(5), reset).await.expect("not within 5 s").unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_reset_is_noticed_while_the_other_side_reads_nothing() {
    symmetric(async |mut one: TcpStream, mut two: TcpStream| {
        let chunk = vec![7; 1 << 20];
        while timeout(Duration::from_millis(200), one.write_all(&chunk)).await.is_ok() {}
        one.set_zero_linger().unwrap();
        drop(one);
        let lost = timeout(Duration::from_secs(5), two.ready(tokio::io::Interest::ERROR)).await;
        lost.expect("not within 5 s").unwrap();
        let mut sink = vec![0; 1 << 20];
        while two.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    })
    .await;
}

#[tokio::test]
async fn a_reader_that_stalls_holds_the_writer_back() {
    symmetric(async |mut one: TcpStream, mut two: TcpStream| {
        let chunk = vec![7; 64 * 1024];
        let mut sent = 0_usize;
        while let Ok(written) = timeout(Duration::from_millis(300), one.write(&chunk)).await {
            sent += written.unwrap();
            // Four socket buffers at their largest (net.ipv4.tcp_rmem and tcp_wmem) come to about 20 MiB.
            assert!(sent < 64 << 20, "{sent} bytes went nowhere");
        }
        let mut read = vec![0; 1 << 20];
        let mut left = sent;
        while left > 0 {
            left -= two.read(&mut read).await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn small_messages_are_not_delayed() {
    symmetric(async |mut one: TcpStream, mut two: TcpStream| {
        one.set_nodelay(true).unwrap();
        two.set_nodelay(true).unwrap();
        let begin = Instant::now();
        for _ in 0..100 {
            one.write_all(b"a").await.unwrap();
            one.write_all(b"b").await.unwrap();
            two.read_exact(&mut [0; 2]).await.unwrap();
        }
        // With Nagle's algorithm in between each round would wait for a delayed ACK, 40 ms.
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    })
    .await;
}

/// One by one, in front of others and behind them, small and in bulk: what is urgent keeps its place among all bytes.
#[tokio::test]
async fn urgent_bytes_arrive_in_their_place() {
    symmetric(async |mut one: TcpStream, mut two: TcpStream| {
        for size in [0, 3, 100_000] {
            let mut expected = Vec::new();
            for urgent in [b'!', b'?'] {
                let plain = vec![b'.'; size];
                // In one go, so that the proxy finds both at once.
                let sent = SockRef::from(&one).send(&plain).unwrap();
                assert_eq!(SockRef::from(&one).send_out_of_band(&[urgent]).unwrap(), 1);
                expected.extend_from_slice(&plain[..sent]);
                expected.push(urgent);
                let mut heard = vec![0; sent + 1];
                let read = timeout(Duration::from_secs(5), two.read_exact(&mut heard)).await;
                read.unwrap_or_else(|_| panic!("{size} bytes and an urgent one")).unwrap();
                assert!(heard == expected, "{size} bytes");
                expected.clear();
            }
        }
        for plain in [&b"behind"[..], b""] {
            SockRef::from(&one).send(b"before").unwrap();
            SockRef::from(&one).send_out_of_band(b"!").unwrap();
            SockRef::from(&one).send(plain).unwrap();
            let mut heard = vec![0; 7 + plain.len()];
            let read = timeout(Duration::from_secs(5), two.read_exact(&mut heard)).await;
            read.expect("what is behind is stuck").unwrap();
            assert_eq!(heard, [b"before!", plain].concat());
        }
        // The end may be right behind.
        let bulk = vec![7; 4 << 20];
        let sending = async {
            one.write_all(&bulk).await.unwrap();
            SockRef::from(&one).send_out_of_band(b"!").unwrap();
            one.write_all(b"end").await.unwrap();
            one.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        let hearing = timeout(Duration::from_secs(10), two.read_to_end(&mut heard));
        let ((), read) = tokio::join!(sending, hearing);
        read.expect("it is stuck").unwrap();
        assert!(heard == [&bulk[..], b"!end"].concat(), "{} bytes", heard.len());
    })
    .await;
}
