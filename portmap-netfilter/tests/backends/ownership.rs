//! Whose a table is, and what others can do about it.

use std::{
    io::{self, BufRead, Write as _},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use portmap_netfilter::{Drift, Nftables, TableOwner, TransparentRouting};

use portmap_rules::{Interface, Policy, Ruleset, Transaction, compile};
use tokio::time::timeout;

use crate::{
    published::nothing,
    suite::{Need, Suite, TestResult},
    tool,
};

/// Set where this binary is the process that is to be killed.
pub(crate) const CHILD: &str = "PORTMAP_TEST_CHILD";

const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn add(suite: &mut Suite) {
    let nft = &[Need::Tool("nft")];
    suite.test("an_owned_table_survives_what_others_do", nft, survives);
    suite.test("a_transaction_that_nobody_waits_for_is_carried_out", nft, not_waited_for);
    suite.test("a_bridge_whose_adding_nobody_waited_for_can_be_added_again", nft, added_twice);
    suite.test("a_closed_table_is_gone_while_the_process_forks", &[], reopened);
    suite.test("a_table_of_nobody_survives_its_socket", nft, stays);
    suite.test("an_owned_table_is_gone_after_sigkill", nft, killed);
    suite.test("a_table_that_is_there_already_is_not_taken_over", nft, not_taken);
    suite.test("a_foreign_change_is_noticed_and_an_own_one_is_not", nft, noticed);
}

pub(crate) fn base() -> Result<Transaction, Box<dyn std::error::Error>> {
    let networks = ["docker0=172.17.0.0/16".parse()?];
    Ok(Ruleset::diff(&nothing(), &compile(&networks, &[], &Policy::default())?))
}

async fn survives() -> TestResult {
    let nftables = Nftables::open(TableOwner::Socket)?;
    nftables.apply(base()?).await?;
    let before = tool::nft_list()?;
    tool::sh("nft flush ruleset")?;
    tool::sh("! nft delete table inet portmap 2>/dev/null")?;
    tool::sh("! nft add rule inet portmap forward drop 2>/dev/null")?;
    tool::sh("! nft flush chain inet portmap forward 2>/dev/null")?;
    assert_eq!(tool::nft_list()?, before);
    drop(nftables);
    for _ in 0..100 {
        if tool::nft_list()?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(SECOND / 100).await;
    }
    Err("the table outlives its socket".into())
}

async fn not_waited_for() -> TestResult {
    let nftables = Nftables::open(TableOwner::Socket)?;
    // Polled once, and dropped.
    let _ = timeout(Duration::ZERO, nftables.apply(base()?)).await;
    nftables.apply(Transaction::default()).await?;
    assert!(tool::nft_list()?.contains("table inet portmap"));
    Ok(())
}

async fn added_twice() -> TestResult {
    let bridges: [Interface; 3] = ["br0".parse()?, "br1".parse()?, "br2".parse()?];
    let mut routing = TransparentRouting::set_up([bridges[0]]).await?;
    let listed = || tool::sh("nft list set inet portmap-transparent bridges");
    // Polled once, and dropped: it is done all the same.
    let _ = timeout(Duration::ZERO, routing.add(bridges[1])).await;
    routing.add(bridges[1]).await?;
    assert!(listed()?.contains("br0") && listed()?.contains("br1"), "{}", listed()?);
    let _ = timeout(Duration::ZERO, routing.withdraw(bridges[0])).await;
    routing.withdraw(bridges[0]).await?;
    // Something else than what was begun, unless that was over at once.
    let added = timeout(Duration::ZERO, routing.add(bridges[2])).await.is_ok();
    routing.withdraw(bridges[1]).await?;
    let left = listed()?;
    assert_eq!(left.contains("br2"), added, "{left}");
    assert!(!left.contains("br0") && !left.contains("br1"), "{left}");
    routing.remove().await?;
    assert_eq!(tool::nft_list()?, "");
    Ok(())
}

/// Children between fork and exec have a copy of the socket.
async fn reopened() -> TestResult {
    let forks = thread::spawn(|| -> io::Result<()> {
        (0..200).try_for_each(|_| Command::new("true").spawn()?.wait().map(drop))
    });
    while !forks.is_finished() {
        let nftables = Nftables::open(TableOwner::Socket)?;
        nftables.apply(base()?).await?;
        nftables.close().await;
    }
    Ok(forks.join().map_err(|_| "panicked")??)
}

async fn stays() -> TestResult {
    let nftables = Nftables::open(TableOwner::Nobody)?;
    nftables.apply(base()?).await?;
    let before = tool::nft_list()?;
    nftables.close().await;
    assert_eq!(tool::nft_list()?, before);
    assert!(before.contains("table inet portmap"));
    Ok(())
}

async fn killed() -> TestResult {
    let mut child = Command::new(std::env::current_exe()?)
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    io::BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    assert_eq!(line, "in force\n");
    assert!(tool::nft_list()?.contains("table inet portmap"));
    child.kill()?;
    child.wait()?;
    assert_eq!(tool::nft_list()?, "");
    Ok(())
}

/// The process that is killed: it puts a table in force, says so, and waits.
pub(crate) fn child() -> TestResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let nftables = Nftables::open(TableOwner::Socket)?;
    runtime.block_on(nftables.apply(base()?))?;
    let mut stdout = io::stdout();
    writeln!(stdout, "in force")?;
    stdout.flush()?;
    io::stdin().read_line(&mut String::new())?;
    Ok(())
}

async fn not_taken() -> TestResult {
    tool::sh("nft add table inet portmap")?;
    for owner in [TableOwner::Socket, TableOwner::Nobody] {
        let error = Nftables::open(owner)?.apply(base()?).await.expect_err("it is refused");
        assert_eq!(error.kind(), portmap_core::ErrorKind::Busy, "{error:?}");
        assert_eq!(error.to_string(), "the kernel would not add table inet portmap");
    }
    tool::sh("nft delete table inet portmap")?;

    let first = Nftables::open(TableOwner::Socket)?;
    first.apply(base()?).await?;
    let error =
        Nftables::open(TableOwner::Socket)?.apply(base()?).await.expect_err("it is refused");
    assert_eq!(error.kind(), portmap_core::ErrorKind::Busy, "{error:?}");
    Ok(())
}

async fn noticed() -> TestResult {
    let nftables = Nftables::open(TableOwner::Socket)?;
    let mut watch = nftables.watch().await?;
    nftables.apply(base()?).await?;
    timeout(SECOND / 10, watch.next()).await.expect_err("it was our own");
    tool::sh("nft add table inet other")?;
    let Drift::Changed { generation, pid, process } = timeout(SECOND, watch.next()).await?? else {
        return Err("nothing was missed".into());
    };
    assert_eq!(process.as_deref(), Some("nft"));
    assert!(generation.is_some() && pid.is_some());
    tool::sh("nft flush ruleset")?;
    timeout(SECOND, watch.next()).await??;
    Ok(())
}
