//! What stands behind the options.

/// Without the word that stands above it: in the manual page that is a heading.
pub(super) const STATUS: &str = "\
0 where all went well: what was published is released after Ctrl-C, SIGTERM or SIGHUP. 1 after an error, which is on standard
error, or where standard output could not be written. 2 where the command line makes no sense.";

pub(super) const EXAMPLES: &str = "\
Examples:
  publish 8080:80                        a webapp, on port 8080 of every address of this host: by NAT and the proxy where
                                         this host allows that, else by the proxy alone
  publish 127.0.0.1:8080:80 --to 172.17.0.2
                                         a container's port 80, on loopback only
  publish 8080:80 --docker web           the same of Docker's container web, wherever that is, also after a restart
  publish 8080:80 --pid 4711             what process 4711 serves on its own 127.0.0.1: of a container without a network, say
  publish 8000-8010:9000-9010 --to 172.17.0.2,fd00:17::2
                                         eleven ports, of a container with two addresses
  publish 80 53/udp --to 172.17.0.2      on free ports of this host's choice
  publish 8080:80@172.17.0.2 8081:80@docker:web 8082:80@netns:/run/netns/blue
                                         a port of each of three containers
  publish 8080:80 --json | jq -c 'select(.event == \"refused\")'
                                         who is turned away, and why
  publish --source proxy-v2 8080:80      a webapp that reads its clients' addresses from the PROXY protocol
  publish --source transparent --network docker0=172.17.0.0/16 8080:80@172.17.0.2
                                         a container of docker0 that sees its clients' addresses by itself
  publish --mode rules 8080:80           a webapp, by NAT in the kernel: it sees its clients' own addresses
  publish --mode hybrid --network docker0=172.17.0.0/16 8080:80@172.17.0.2
                                         a container of docker0, by NAT for clients outside and by the proxy for others
  publish --explain 8080:80              by which ways it would be reached, who would serve each, and why
  publish --mode rules --network docker0=172.17.0.0/16 8080:80@172.17.0.2 --dry-run
                                         the rules for a container of docker0, and nothing done
  publish who 8080/tcp                   who has a port
  publish doctor 8080:80                 what stands in the way here, and what mends it";

/// Both, behind the options.
pub(super) fn behind() -> String {
    format!("Exit status: {STATUS}\n\n{EXAMPLES}")
}

pub(super) const WHO: &str = "\
Exit status: 0 where somebody has one of the ports, 1 where nobody has: they are free, or cannot be taken, and it says why.

Examples:
  publish who 8080                       TCP and UDP, on any address
  publish who 127.0.0.1:8080/tcp [::1]:53/udp";

pub(super) const DOCTOR: &str = "\
Exit status: 0 where all is well, 1 where something is wrong. It changes nothing, and works without privilege: what it could
not see, it says.

Examples:
  publish doctor                         this host
  publish doctor 8080:80 32768-33000:80  and whether these ports can be had
  publish doctor --mode rules --network br0=10.0.0.0/24 8080:80@10.0.0.2
                                         the words of a publish that failed: its ports alone count
  publish doctor --json | jq -r '.[] | select(.state == \"wrong\") | .mend'";

pub(super) const COMPLETIONS: &str = "\
Examples:
  publish completions bash > ~/.local/share/bash-completion/completions/publish
  publish completions zsh > ~/.zfunc/_publish";

pub(super) const MAN: &str = "\
Example:
  publish man > ~/.local/share/man/man1/publish.1";
