//! What a published port costs by the proxy and by both ways at once: `cargo bench --bench ports`.
//!
//! Runs in a network namespace of its own, as root or in a user namespace. Each round is a process of its own, so that
//! memory is not that of the round before; the ways take turns. Figures are medians of `ROUNDS` with the lowest and the
//! highest beside them. Memory is what the process has for itself (`Private_*` of `smaps_rollup`), after publishing less
//! before; the kernel's sockets are not in it. The kernel has no memory at hand for the first sockets of a
//! process, and some for the next ones: both are measured, in one process.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use std::{
    env,
    error::Error,
    fs,
    net::Ipv4Addr,
    process::{Command, ExitCode},
    time::Instant,
};

use portmap::{
    HybridMapper, PortMapper, PortSpec, ProxyMapper, Publish, RulesMapper,
    rules::{Loopback, Network, Policy},
};
use portmap_testkit::{Lab, enter};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;

const ROUNDS: usize = 5;
/// How often a round publishes and releases.
const TURNS: usize = 2;
const NETWORK: &str = "docker0=172.17.0.0/16";
const WEB: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 2);
const SHAPES: [&str; 2] = ["range", "single"];
const WAYS: [&str; 2] = ["proxy", "hybrid"];

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let done = match args.iter().position(|arg| arg == "round") {
        Some(place) => round(&args[place + 1], &args[place + 2]),
        None => rounds(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

type Failure = Box<dyn Error + Send + Sync>;

fn rounds() -> Result<(), Failure> {
    println!("medians of {ROUNDS} [lowest, highest]");
    for shape in SHAPES {
        let mut figures = WAYS.map(|_| [const { Vec::new() }; 3 * TURNS]);
        for _ in 0..ROUNDS {
            for (way, figures) in WAYS.iter().zip(&mut figures) {
                let output =
                    Command::new(env::current_exe()?).args(["round", shape, way]).output()?;
                let text = String::from_utf8(output.stdout)?;
                if !output.status.success() {
                    return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
                }
                for (figure, word) in figures.iter_mut().zip(text.split_whitespace()) {
                    figure.push(word.parse::<f64>()?);
                }
            }
        }
        println!();
        for (way, [up, down, memory, up_again, down_again, _]) in WAYS.iter().zip(figures) {
            let (what, ports) = what(shape);
            println!("{what}, {way}: up         ms {}", shown(up));
            println!("{what}, {way}: down       ms {}", shown(down));
            println!("{what}, {way}: up again   ms {}", shown(up_again));
            println!("{what}, {way}: down again ms {}", shown(down_again));
            let each = memory.into_iter().map(|kib| kib / f64::from(ports)).collect();
            println!("{what}, {way}: KiB a port    {}", shown(each));
        }
    }
    Ok(())
}

fn shown(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    match (figures.first(), figures.last()) {
        (Some(low), Some(high)) => {
            format!("{:9.2} [{low:.2}, {high:.2}]", figures[figures.len() / 2])
        }
        _ => "not measured".to_owned(),
    }
}

fn what(shape: &str) -> (&'static str, u16) {
    match shape {
        "range" => ("a range of 10,000 TCP ports", 10_000),
        _ => ("1,000 single TCP ports", 1_000),
    }
}

/// Prints how long it took up and down, in ms, and what memory it took, in KiB; and the same for the next time.
fn round(shape: &str, way: &str) -> Result<(), Failure> {
    enter()?;
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    let specs: Vec<PortSpec> = match shape {
        "range" => vec!["20000-29999:20000-29999".parse()?],
        _ => (20_000..21_000).map(|port| format!("{port}:80").parse()).collect::<Result<_, _>>()?,
    };
    let hybrid = way == "hybrid";
    let request = specs.into_iter().fold(Publish::new(WEB), Publish::with);
    // On the embedder's usual runtime: a thread for each processor.
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let lab = Lab::new().await?;
        lab.host().sysctl("net/ipv4/ip_forward", "1").await?;
        let done = lab.host().run(async move {
            let policy = Policy { loopback: Loopback::Proxy, ..Policy::default() };
            let rules = RulesMapper::open(policy)?;
            let _attached = rules.attach(NETWORK.parse::<Network>()?).await?;
            let mapper = match hybrid {
                true => HybridMapper::new(ProxyMapper::new(), rules).into_boxed(),
                false => ProxyMapper::new().into_boxed(),
            };
            for _ in 0..TURNS {
                let before = memory()?;
                let begin = Instant::now();
                let lease = mapper.publish(request.clone()).await?;
                let up = begin.elapsed().as_secs_f64() * 1e3;
                let after = memory()?;
                let begin = Instant::now();
                lease.release().await?;
                let down = begin.elapsed().as_secs_f64() * 1e3;
                println!("{up} {down} {}", after - before);
            }
            Ok(())
        });
        done.await
    })
}

/// What the process has for itself, in KiB.
fn memory() -> Result<f64, Failure> {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup")?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    let sizes = private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    Ok(sizes.sum())
}
