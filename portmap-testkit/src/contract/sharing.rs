//! Publishes that have something in common.

use futures::future::join_all;
use portmap_core::Protocol;

use super::clauses;
use super::publishing::both;
use super::trial::Trial;
use crate::suite::TestResult;

clauses![CLAUSES:
    two_host_ports_lead_to_one_container_port,
    containers_share_a_port_on_different_addresses,
    containers_share_a_port_on_different_loopback_addresses,
    many_publishes_at_once_are_independent,
];

async fn two_host_ports_lead_to_one_container_port(trial: &Trial) -> TestResult {
    let web = trial.site.web();
    let first = trial.publish(web, &both(trial, "8080:80", "8080:80/udp")).await?;
    let second = trial.publish(web, &both(trial, "8081:80", "8081:80/udp")).await?;
    trial.answers(8080, Some("web")).await?;
    trial.answers(8081, Some("web")).await?;
    trial.release(first).await?;
    trial.answers(8080, None).await?;
    trial.answers(8081, Some("web")).await?;
    trial.release(second).await?;
    trial.answers(8081, None).await
}

async fn containers_share_a_port_on_different_addresses(trial: &Trial) -> TestResult {
    let host = trial.site.host();
    host.add_address("eth0", "192.168.33.3/24".parse()?).await?;
    host.add_address("eth0", "2001:db8:33::3/64".parse()?).await?;
    let (own, further) = (host.addr4(), ["192.168.33.3", "[2001:db8:33::3]"]);
    let one = [format!("{own}:8080:80"), format!("[{}]:8080:80", host.addr6())];
    let two = further.map(|addr| format!("{addr}:8080:80"));
    let mut leases = Vec::new();
    for (container, specs) in [(trial.site.web(), &one), (trial.site.other(), &two)] {
        let udp = specs.clone().map(|spec| format!("{spec}/udp"));
        let specs = specs.iter().chain(udp.iter().filter(|_| trial.can.udp));
        let specs: Vec<_> = specs.map(String::as_str).collect();
        leases.push(trial.publish(container, &specs).await?);
    }
    let further: [_; 2] =
        [format!("{}:8080", further[0]).parse()?, format!("{}:8080", further[1]).parse()?];
    let answers = async |web, other| {
        for protocol in trial.protocols() {
            let client = trial.site.client();
            for (to, name) in [(trial.lan(8080), web), (further, other)] {
                for to in to {
                    trial.answers_at(client, to, *protocol, name).await?;
                }
            }
        }
        TestResult::Ok(())
    };
    answers(Some("web"), Some("other")).await?;
    let second = leases.pop();
    for lease in leases {
        trial.release(lease).await?;
    }
    answers(None, Some("other")).await?;
    if let Some(second) = second {
        trial.release(second).await?;
    }
    answers(None, None).await
}

async fn containers_share_a_port_on_different_loopback_addresses(trial: &Trial) -> TestResult {
    let specs = |addr: &str| {
        let udp = trial.can.udp.then(|| format!("{addr}:8080:80/udp"));
        [format!("{addr}:8080:80")].into_iter().chain(udp).collect::<Vec<_>>()
    };
    let (one, two) = (specs("127.0.1.2"), specs("127.0.1.3"));
    let strs = |specs: &[String]| specs.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let (one, two) = (strs(&one), strs(&two));
    let first = trial.publish(trial.site.web(), &one.split(' ').collect::<Vec<_>>()).await?;
    let second = trial.publish(trial.site.other(), &two.split(' ').collect::<Vec<_>>()).await?;
    let host = trial.site.host();
    let answers = async |addr: &str, name: Option<&str>| {
        let name = name.filter(|_| trial.can.loopback4);
        for protocol in trial.protocols() {
            trial.answers_at(host, format!("{addr}:8080").parse()?, *protocol, name).await?;
        }
        TestResult::Ok(())
    };
    answers("127.0.1.2", Some("web")).await?;
    answers("127.0.1.3", Some("other")).await?;
    answers("127.0.0.1", None).await?;
    trial.answers(8080, None).await?;
    trial.release(first).await?;
    answers("127.0.1.2", None).await?;
    answers("127.0.1.3", Some("other")).await?;
    trial.release(second).await
}

async fn many_publishes_at_once_are_independent(trial: &Trial) -> TestResult {
    const MANY: u16 = 32;
    let whose = |number: u16| match number % 2 {
        0 => trial.site.web(),
        _ => trial.site.other(),
    };
    let publishes = (0..MANY).map(async |number| {
        let tcp = format!("{}:80", 8000 + number);
        let udp = format!("{tcp}/udp");
        trial.publish(whose(number), &both(trial, &tcp, &udp)).await
    });
    let mut leases = Vec::new();
    for lease in join_all(publishes).await {
        leases.push(lease?);
    }
    // Half of them go, together and while others come.
    let (gone, stay): (Vec<_>, Vec<_>) =
        (0..MANY).zip(leases).partition(|(number, _)| number % 4 < 2);
    let releases = join_all(gone.into_iter().map(|(_, lease)| trial.release(lease)));
    let (released, newcomer) =
        tokio::join!(releases, trial.publish(trial.site.other(), &["9000:80"]));
    released.into_iter().collect::<TestResult>()?;
    let newcomer = newcomer?;
    for number in 0..MANY {
        let name = (number % 4 >= 2).then(|| whose(number).name());
        trial
            .answers_at(trial.site.client(), trial.lan(8000 + number)[0], Protocol::Tcp, name)
            .await?;
    }
    trial.answers_over(Protocol::Tcp, 9000, Some("other")).await?;
    let rest = stay.into_iter().map(|(_, lease)| lease).chain([newcomer]);
    join_all(rest.map(|lease| trial.release(lease))).await.into_iter().collect()
}
