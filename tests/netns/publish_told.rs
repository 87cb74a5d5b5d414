//! What the tool tells: a program by JSON, a person by a view on a terminal, and who asks by `who` and `doctor`.

use std::{
    fs::File,
    io::Read,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::{
    pty::openpty,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portmap::BoxError;
use portmap_testkit::{CallError, Lab, Need, Node, Suite};
use serde_json::Value;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream, UdpSocket},
    time::sleep,
};

use crate::{
    process::{signal, start},
    support::tool,
};

pub(crate) fn tests(suite: &mut Suite) {
    let netns = [Need::Netns];
    suite.test("publish_tells_a_program_what_happens", &netns, json);
    suite.test("publish_serves_though_nobody_reads_what_it_tells", &netns, unread);
    suite.test("publish_logs_without_escapes_into_a_pipe", &netns, log);
    suite.test("publish_shows_a_terminal_who_is_connected", &netns, live);
    suite.test("publish_names_who_has_a_port", &netns, who);
    suite.test("publish_shows_the_name_of_a_process_as_text", &netns, hostile);
    let setpriv = [Need::Netns, Need::Tool("setpriv")];
    suite.test("publish_says_what_it_may_not_see_of_a_port", &setpriv, who_unseen);
    suite.test("publish_finds_what_stands_in_the_way", &netns, doctor);
    let nft = [Need::Netns, Need::Tool("nft"), Need::Tool("setpriv")];
    suite.test("publish_finds_a_firewall_in_the_way", &nft, firewall);
}

async fn json() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let specs = ["8080:80", "8080:80/udp", "8081:1@192.0.2.1", "--json"];
    let mut tool = host.command(&tool()?.to_string_lossy(), specs).await?;
    tool.read_until("\"event\":\"published\"").await?;
    let published = SocketAddr::from((host.addr4(), 8080));
    let page = lab.client().get(published).await?;
    lab.client().ask_udp(published).await?;
    let dead = lab.client().get(SocketAddr::from((host.addr4(), 8081))).await;
    assert!(matches!(dead, Err(CallError::Reset)), "{dead:?}");
    tool.read_until("\"event\":\"refused\"").await?;
    signal(&tool, Signal::SIGINT)?;
    assert!(tool.wait().await?.success());
    let said = tool.transcript();
    // The log of what was refused is on standard error, which a transcript has, too.
    let lines = said.lines().filter(|line| line.starts_with('{'));
    let events = lines.map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let of = |kind: &str, protocol: &str| {
        let is = |event: &&Value| event["event"] == kind && event["protocol"] == protocol;
        events.iter().find(is).cloned().ok_or_else(|| format!("no {kind} {protocol} in {said}"))
    };
    let tcp = of("closed", "tcp")?;
    assert_eq!((&tcp["host"], &tcp["container_port"]), (&published.to_string().into(), &80.into()));
    assert!(tcp["bytes_out"].as_u64() > Some(10) && tcp["time"].as_f64() > Some(1e9), "{tcp}");
    assert!(
        tcp["seen_as"]
            .as_str()
            .is_some_and(|seen| seen.starts_with(&format!("{}:", page.remote_ip)))
    );
    assert!(tcp["path"].as_str().is_some_and(|path| path.starts_with("over ")), "{tcp}");
    assert_eq!(of("opened", "tcp")?["client"], tcp["client"]);
    let udp = of("closed", "udp")?;
    assert_eq!((&udp["datagrams_in"], &udp["ending"]), (&1.into(), &"ended by the release".into()));
    let refused = of("refused", "tcp")?;
    assert!(
        refused["cause"].as_str().is_some_and(|cause| cause.contains("192.0.2.1:1")),
        "{refused}"
    );
    let bindings =
        &events.iter().find(|event| event["event"] == "published").ok_or("none")?["bindings"];
    assert_eq!(bindings.as_array().map(Vec::len), Some(3));
    assert_eq!(bindings[0]["host"], "*");
    assert_eq!(events.last().map(|event| event["event"].clone()), Some("released".into()));
    Ok(())
}

async fn log() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let path = tool()?.to_string_lossy().into_owned();
    for (limit, is_raised) in [("256", true), ("$(ulimit -Hn)", false)] {
        let limited = format!("ulimit -Sn {limit}; exec {path} -v --plain 8080:80 --to 192.0.2.2");
        let mut tool = lab.host().command("sh", ["-c", &limited]).await?;
        tool.read_until("Ctrl-C ends it.\n").await?;
        signal(&tool, Signal::SIGINT)?;
        assert!(tool.wait().await?.success());
        let said = tool.transcript();
        let raised = " INFO the limit of open descriptors is raised from=256 ";
        assert_eq!(said.contains(raised), is_raised, "{said}");
        assert!(!said.contains('\x1b'), "{said:?}");
    }
    Ok(())
}

async fn unread() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let sink = host.run(TcpListener::bind("127.0.0.1:7000")).await?;
    host.spawn(async move { while sink.accept().await.is_ok() {} });
    let program = tool()?;
    // Standard output is a pipe that is full after some hundred lines.
    let mut tool = host
        .run(async move {
            let mut tool = Command::new(program);
            tool.args(["8080:7000", "--to", "127.0.0.1", "--json"]);
            tool.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
        })
        .await?;
    let pipe = tool.stdout.take();
    let addr: SocketAddr = "127.0.0.1:8080".parse()?;
    let served = host.run(async move {
        for _ in 0..1500 {
            let mut tries = 0;
            let mut stream = loop {
                match TcpStream::connect(addr).await {
                    Ok(stream) => break stream,
                    Err(error) if tries == 100 => return Err(error),
                    Err(_) => tries += 1,
                }
                sleep(Duration::from_millis(20)).await;
            };
            let mut end = Vec::new();
            tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut end)).await??;
        }
        std::io::Result::Ok(())
    });
    let served = served.await;
    kill(Pid::from_raw(tool.id().try_into()?), Signal::SIGINT)?;
    let ended = tool.wait()?;
    drop(pipe);
    served?;
    assert!(ended.success(), "{ended}");
    Ok(())
}

async fn live() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let mut terminal = Terminal::start(host, &["8080:80", "8081:1@192.0.2.1"]).await?;
    let until = async |wanted: &str| terminal.until(wanted).await;
    until("Ctrl-C ends it.").await?;
    let published = SocketAddr::from((host.addr4(), 8080));
    let connected = lab.client().run(TcpStream::connect(published)).await?;
    let client = connected.local_addr()?.to_string();
    until(&client).await?;
    until("1 open, 0 served, 0 refused").await?;
    // What the container sees, and what has been carried meanwhile.
    until("172.31.254.1:").await?;
    connected.try_write(b"GET / HTTP/1.1\r\n")?;
    until("     16 B  ").await?;
    let dead = lab.client().get(SocketAddr::from((host.addr4(), 8081))).await;
    assert!(matches!(dead, Err(CallError::Reset)), "{dead:?}");
    until("1 refused: ").await?;
    drop(connected);
    until("0 open, 1 served, 1 refused").await?;
    terminal.end()?;
    let text = terminal.text();
    // What was switched off for a view is on again behind it, and nothing else was touched.
    assert_eq!(text.matches("\x1b[?7l").count(), text.matches("\x1b[?7h").count());
    assert!(!text.contains("\x1b[?1049") && !text.contains("\x1b[?25"), "{text:?}");
    Ok(())
}

/// The tool on a terminal, and all that it has shown there.
pub(crate) struct Terminal {
    tool: std::process::Child,
    shown: Arc<Mutex<String>>,
    reader: Option<thread::JoinHandle<()>>,
}

impl Terminal {
    pub(crate) async fn start(host: &Node, args: &[&str]) -> Result<Self, BoxError> {
        let terminal = openpty(None, None)?;
        let (input, output, errors) =
            (terminal.slave.try_clone()?, terminal.slave.try_clone()?, terminal.slave);
        let program = tool()?;
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let tool = host.run(async move {
            let mut tool = Command::new(program);
            tool.args(args).env("TERM", "xterm");
            tool.stdin(Stdio::from(input)).stdout(Stdio::from(output)).stderr(Stdio::from(errors));
            tool.spawn()
        });
        let tool = tool.await?;
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut screen, heard) = (File::from(terminal.master), Arc::clone(&shown));
        let reader = thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut part) {
                if let Ok(mut heard) = heard.lock() {
                    heard.push_str(&String::from_utf8_lossy(&part[..count]));
                }
            }
        });
        Ok(Self { tool, shown, reader: Some(reader) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.tool.id()
    }

    pub(crate) fn text(&self) -> String {
        self.shown.lock().map(|text| text.clone()).unwrap_or_default()
    }

    pub(crate) async fn until(&self, wanted: &str) -> Result<(), BoxError> {
        for _ in 0..50 {
            if self.text().contains(wanted) {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err(format!("no {wanted:?} in {:?}", self.text()).into())
    }

    /// Ends the tool, and returns when all that it has shown was read.
    pub(crate) fn end(&mut self) -> Result<(), BoxError> {
        kill(Pid::from_raw(self.tool.id().try_into()?), Signal::SIGINT)?;
        assert!(self.tool.wait()?.success(), "{}", self.text());
        // Nobody else has the terminal open.
        self.reader.take().map(thread::JoinHandle::join);
        Ok(())
    }
}

async fn who() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let path = tool()?.to_string_lossy().into_owned();
    let one = start(host, &["127.0.0.1:8080:80", "--to", "192.0.2.2"]).await?;
    let two = start(host, &["127.0.0.2:8080:80", "--to", "192.0.2.2"]).await?;
    let pid = |child: &portmap_testkit::Child| child.pid().unwrap_or_default();
    let (one_pid, two_pid) = (pid(&one), pid(&two));
    let cases = [
        ("8081", Some(1), "*:8081/tcp is free\n*:8081/udp is free\n".to_owned()),
        (
            "127.0.0.1:8080/tcp",
            Some(0),
            format!("127.0.0.1:8080/tcp is in use by publish (pid {one_pid})\n"),
        ),
        ("127.0.0.3:8080/TCP", Some(1), "127.0.0.3:8080/tcp is free\n".to_owned()),
        (
            "8079-8081/tcp",
            Some(0),
            format!(
                "127.0.0.1:8080/tcp is in use by publish (pid {one_pid})\n\
                 127.0.0.2:8080/tcp is in use by publish (pid {two_pid})\n\
                 *:8079/tcp is free\n*:8081/tcp is free\n"
            ),
        ),
    ];
    for (question, status, wanted) in cases {
        let answer = host.exec(&path, ["who", question]).await?;
        let mut lines: Vec<_> = answer.stdout.lines().collect();
        let mut expected: Vec<_> = wanted.lines().collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(
            (answer.status.code(), lines),
            (status, expected),
            "{question} {}",
            answer.stderr
        );
    }
    // Bound, and not listening: listed by the kernel since Linux 6.8.
    let reserved = host.run(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:9000".parse().map_err(std::io::Error::other)?)?;
        std::io::Result::Ok(socket)
    });
    let _reserved = reserved.await?;
    let answer = host.exec(&path, ["who", "127.0.0.1:9000/tcp"]).await?;
    assert!(
        answer.status.success()
            && ["which does not listen", "no table of the kernel lists"]
                .iter()
                .any(|told| answer.stdout.contains(told)),
        "{}",
        answer.stdout
    );
    for nonsense in ["", "0", "70000", "80/sctp", "::1:80", "web:80", "10-5"] {
        assert_eq!(host.exec(&path, ["who", nonsense]).await?.status.code(), Some(2), "{nonsense}");
    }
    Ok(())
}

/// Any user's process can have any name.
async fn hostile() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let listener = host.run(async { std::net::TcpListener::bind("127.0.0.1:8080") }).await?;
    // A shell that has the socket, and renames itself.
    let rename = r"printf '\033]0;x\007\233\n' > /proc/$$/comm; echo renamed; read line <&2";
    let (mut end, theirs) = std::os::unix::net::UnixStream::pair()?;
    let mut shell = Command::new("sh")
        .args(["-c", rename])
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stdout(Stdio::piped())
        .stderr(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .spawn()?;
    let mut renamed = [0; 8];
    shell.stdout.as_mut().ok_or("no output")?.read_exact(&mut renamed)?;
    let path = tool()?.to_string_lossy().into_owned();
    for (args, status) in [
        (&["who", "8080/tcp"][..], 0),
        (&["doctor", "8080:80"], 1),
        (&["doctor", "8080:80", "--json"], 1),
        (&["127.0.0.1:8080:80", "--to", "192.0.2.2"], 1),
        (&["127.0.0.1:8080:80", "--to", "192.0.2.2", "--json"], 1),
    ] {
        let told = host.exec(&path, args.iter().copied()).await?;
        assert_eq!(told.status.code(), Some(status), "{args:?}: {}{}", told.stdout, told.stderr);
        let all = told.stdout + &told.stderr;
        assert!(all.chars().all(|char| char == '\n' || !char.is_control()), "{args:?}: {all:?}");
        let name = if args.contains(&"doctor") && args.contains(&"--json") {
            // The backslashes of what is escaped are escaped.
            r"\\u{1b}]0;x\\u{7}"
        } else {
            r"\u{1b}]0;x\u{7}"
        };
        assert!(all.contains(name), "{args:?}: {all}");
    }
    std::io::Write::write_all(&mut end, b"\n")?;
    shell.wait()?;
    Ok(())
}

async fn who_unseen() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let _socket = host.run(UdpSocket::bind("127.0.0.1:53")).await?;
    let path = tool()?.to_string_lossy().into_owned();
    let without = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    let asked = [path.as_str(), "who", "127.0.0.1:54/udp"];
    let free = host.exec("setpriv", without.into_iter().chain(asked)).await?;
    let unknown = "127.0.0.1:54/udp is in nobody's use that can be seen; taking it needs CAP_NET_BIND_SERVICE\n";
    assert_eq!((free.status.code(), free.stdout.as_str()), (Some(1), unknown));
    // The socket is of who has more privilege: whose it is can be seen, and no more.
    let asked = [path.as_str(), "127.0.0.1:9053:53/udp", "--to", "192.0.2.2"];
    let _other = host.run(UdpSocket::bind("127.0.0.1:9053")).await?;
    let refused = host.exec("setpriv", without.into_iter().chain(asked)).await?;
    let whose = "publish: 127.0.0.1:9053/udp is in use by a process of user 0\n";
    assert_eq!((refused.status.code(), refused.stderr.as_str()), (Some(1), whose));
    let taken = host.exec(&path, ["who", "127.0.0.1:53/udp"]).await?;
    assert!(taken.stdout.contains(&format!("(pid {})", std::process::id())), "{}", taken.stdout);
    Ok(())
}

async fn doctor() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let path = tool()?.to_string_lossy().into_owned();
    let _holder = start(host, &["8080:80", "--to", "192.0.2.2"]).await?;
    // Bound, and not listening: rules keep their ports like that.
    let kept = host.run(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind("127.0.0.1:9000".parse().map_err(std::io::Error::other)?)?;
        std::io::Result::Ok(socket)
    });
    let _kept = kept.await?;
    host.sysctl("net/ipv4/ip_forward", "0").await?;
    host.sysctl("net/ipv4/ip_local_port_range", "32768 60999").await?;
    let specs = ["8080:80", "40000-40001:80-81", "9000:80", "10.9.9.9:81:80", "10.9.9.9::80"];
    let specs = specs.into_iter().chain(["8000-8010:80", "127.0.0.1:8081:80/udp"]);
    let asked = ["doctor", "--json"].into_iter().chain(specs);
    let answer = host.exec(&path, asked).await?;
    assert_eq!(answer.status.code(), Some(1), "{}{}", answer.stdout, answer.stderr);
    let findings: Vec<Value> = serde_json::from_str(&answer.stdout)?;
    let has = |check: &str, state: &str, text: &str| {
        let is = |finding: &&Value| {
            let found = finding["found"].as_str().unwrap_or_default();
            finding["check"] == check && finding["state"] == state && found.contains(text)
        };
        assert!(findings.iter().any(|finding| is(&finding)), "{check} {state}: {}", answer.stdout);
    };
    has("ports", "wrong", "[::]:8080/tcp is in use by publish (pid ");
    has("ports", "wrong", ":9000/tcp is in use by ");
    has(
        "ports",
        "wrong",
        "10.9.9.9:81/tcp cannot be taken: 10.9.9.9 is not an address of this host",
    );
    has("ports", "wrong", "10.9.9.9::80/tcp: 10.9.9.9 is not an address of this host");
    has("ports", "ok", "there is a free port for 8000-8010:80/tcp");
    has("ports", "ok", "127.0.0.1:8081/udp is free");
    has("ephemeral", "wrong", "40000-40001 lies in 32768-60999");
    has("ip_forward", "note", "net.ipv4.ip_forward is 0");
    has("nftables", "ok", "the kernel takes the rules");
    // What it advises mends it.
    host.sysctl("net/ipv4/ip_local_reserved_ports", "40000-40001").await?;
    let answer = host.exec(&path, ["doctor", "40000-40001:80-81"]).await?;
    assert!(!answer.stdout.contains("lies in"), "{}", answer.stdout);
    Ok(())
}

async fn firewall() -> Result<(), BoxError> {
    let lab = Lab::new().await?;
    let host = lab.host();
    let path = tool()?.to_string_lossy().into_owned();
    let before = host.exec("nft", ["list", "ruleset"]).await?.stdout;
    let answer = host.exec(&path, ["doctor"]).await?;
    assert!(answer.stdout.contains("no chain of others drops"), "{}", answer.stdout);
    assert_eq!(host.exec("nft", ["list", "ruleset"]).await?.stdout, before, "it changes nothing");

    let chain = "add table inet wall; add chain inet wall ahead { type filter hook forward priority 0; policy drop; }";
    assert!(host.exec("nft", [chain]).await?.status.success());
    let answer = host.exec(&path, ["doctor"]).await?;
    assert_eq!(answer.status.code(), Some(1));
    assert!(answer.stdout.contains("inet wall ahead drops what is forwarded"), "{}", answer.stdout);
    assert!(
        answer.stdout.contains("# nft insert rule inet wall ahead oifname BRIDGE accept"),
        "{}",
        answer.stdout
    );
    let refused = host.exec(&path, ["--mode", "rules", "8080:80"]).await?;
    assert_eq!(refused.status.code(), Some(1));
    let why = "publish: chain ahead in table inet wall drops forwarded packets by default, so NAT cannot work: \
               where its rules accept what is published, say --foreign-drop ignore; ";
    assert!(refused.stderr.starts_with(why), "{}", refused.stderr);
    // What it advises mends it.
    let advised = answer.stdout.lines().find_map(|line| line.trim().strip_prefix("# nft insert"));
    let advised =
        format!("nft insert{}", advised.ok_or("no advice")?.replace("BRIDGE", "portmap0"));
    let (rules, publish) = advised.split_once("; publish ").ok_or("no publish")?;
    assert!(host.exec("sh", ["-c", rules]).await?.status.success(), "{rules}");
    let options: Vec<_> = publish.split(' ').chain(["--mode", "rules", "8080:80"]).collect();
    let mut published = start(host, &options).await?;
    let page = lab.client().get(SocketAddr::from((host.addr4(), 8080))).await?;
    assert_eq!(page.remote_ip, lab.client().addr4());
    signal(&published, Signal::SIGINT)?;
    assert!(published.wait().await?.success());
    // iptables that speaks nftables has such a chain.
    let chain = "add table ip filter; add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }";
    assert!(host.exec("nft", [chain]).await?.status.success());
    let answer = host.exec(&path, ["doctor"]).await?;
    assert!(answer.stdout.contains("# publish --foreign-drop open, or "), "{}", answer.stdout);
    assert!(host.exec("nft", ["delete table inet wall"]).await?.status.success());
    let refused = host.exec(&path, ["--mode", "rules", "8080:80"]).await?;
    let why = "publish: chain FORWARD in table ipv4 filter of iptables (nf_tables) drops forwarded packets by default, \
               so NAT cannot work: --foreign-drop open opens a way; ";
    assert!(refused.stderr.starts_with(why), "{}", refused.stderr);
    let without = ["--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    let answer = host.exec("setpriv", without.into_iter().chain([path.as_str(), "doctor"])).await?;
    assert!(answer.stdout.contains("?      nftables"), "{}", answer.stdout);
    Ok(())
}
