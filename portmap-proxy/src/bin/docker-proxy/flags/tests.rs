use super::*;

fn parsed(line: &str) -> Result<Command, FlagError> {
    parse(line.split_whitespace().map(str::to_owned))
}

fn flags(line: &str) -> Flags {
    match parsed(line) {
        Ok(Command::Proxy(flags)) => flags,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_form_of_a_flag_is_read() {
    let forms = [
        "-proto udp -host-ip ::1 -host-port 53 -container-ip 172.17.0.2 -container-port 5353",
        "-proto=udp -host-ip=::1 -host-port=53 -container-ip=172.17.0.2 -container-port=5353",
        "--proto udp --host-ip ::1 --host-port 53 --container-ip 172.17.0.2 --container-port 5353",
        "-container-port 5353 --host-port=53 -proto UDP --container-ip 172.17.0.2 -host-ip ::1 -- x",
    ];
    let expected = Flags {
        protocol: Ok(Protocol::Udp),
        host_ip: "::1".parse().unwrap(),
        host_port: Port::try_from(53).ok(),
        container_ip: "172.17.0.2".parse().unwrap(),
        container_port: Port::try_from(5353).ok(),
        use_listen_fd: false,
    };
    for form in forms {
        assert_eq!(flags(form), expected, "{form}");
    }
}

#[test]
fn a_switch_takes_a_value_after_an_equals_sign_only() {
    for (line, on) in [
        ("", false),
        ("-use-listen-fd", true),
        ("--use-listen-fd=true", true),
        ("-use-listen-fd=0", false),
        ("-use-listen-fd false", true),
    ] {
        assert_eq!(flags(line).use_listen_fd, on, "{line}");
    }
    for line in ["-v", "--version", "-host-port 80 -version=true"] {
        assert_eq!(parsed(line), Ok(Command::Version), "{line}");
    }
    assert_eq!(parsed("-h"), Ok(Command::Help));
}

#[test]
fn what_cannot_be_read_is_told_as_go_does() {
    let cases = [
        ("-nonsense", "flag provided but not defined: -nonsense"),
        ("-host-port", "flag needs an argument: -host-port"),
        ("-host-port=abc", "invalid value \"abc\" for flag -host-port: parse error"),
        ("-host-port 70000", "invalid value \"70000\" for flag -host-port: parse error"),
        ("-host-ip 1.2.3", "invalid value \"1.2.3\" for flag -host-ip: parse error"),
        ("---proto", "bad flag syntax: ---proto"),
        ("-=x", "bad flag syntax: -=x"),
    ];
    for (line, message) in cases {
        assert_eq!(parsed(line).expect_err(line).to_string(), message);
    }
}
