//! How answers look: tables, JSON, YAML, the status screen, the manual.

use std::process::Stdio;

use crate::fake::{Agent, Mood, Ran, overlayctl};
use crate::{ASKING, check};

#[test]
fn lists_are_tables_without_borders() {
    let agent = Agent::start(Mood::Formed);
    check(
        &agent,
        &["peer", "list"],
        "\
NAME    ADDRESS     STATE           MTU   ID
hv1*    192.0.2.11  alive, drained  1450  00000000000000a1
hv2     192.0.2.12  suspect         -     00000000000000a2
hv3     192.0.2.13  failed          -     00000000000000a3
switch  192.0.2.60  static          -     -
",
    );
    check(
        &agent,
        &["segment", "list"],
        "\
NAME   VNI  BRIDGE    MODE      MTU   GATEWAY  HOSTS
blue   10   br-blue   nat       1450  hv1      hv1,hv2,hv3
green  20   br-green  isolated  1450  none     hv1
",
    );
    check(
        &agent,
        &["gateway", "list"],
        "\
SEGMENT  HOST  TERM  SINCE                 REASON
blue     hv1*  7     2026-01-01T00:00:00Z  first in order, granted by 3 of 3
green    none  2     -                     no candidate
",
    );
    check(
        &agent,
        &["lease", "list"],
        "\
SEGMENT  ADDRESS         MAC                HOSTNAME  EXPIRES               OWNER  KEEPER  COPIES  STATE
blue     192.168.124.16  52:54:00:aa:bb:01  web       2026-01-01T00:00:00Z  hv1    hv2     2       bound
blue     192.168.124.17  -                  -         -                     hv1    -       1       declined
",
    );
    check(
        &agent,
        &["pool", "show"],
        "\
SEGMENT  RANGE                           OWNER  FREE  HELD  QUARANTINED  DECLINED  WAITS
blue     192.168.124.16-192.168.124.127  hv1    110   1     0            1         for hv3
blue     192.168.124.128                 none   110   1     0            1         for hv3
",
    );
    check(
        &agent,
        &["endpoint", "list"],
        "\
SEGMENT  MAC                ADDRESSES                    HOST  INTERFACE
blue     52:54:00:aa:bb:01  192.168.124.16,fd10:0:2::16  hv1   tap0
blue     52:54:00:aa:bb:01  -                            hv2   -
",
    );
    check(&agent, &["plan"], "ip link set vx-blue master br-blue\nnft -f -\n");
}

#[test]
fn json_has_the_documented_keys() {
    let agent = Agent::start(Mood::Formed);
    let json = |arguments: &[&str], expected: &str| {
        let mut arguments = arguments.to_vec();
        arguments.extend(["-o", "json"]);
        let ran = agent.run(&arguments);
        let pretty: serde_json::Value = serde_json::from_str(expected).unwrap();
        // Compared as text, so that the order of the keys counts.
        assert_eq!(
            ran.stdout,
            serde_json::to_string_pretty(&pretty).unwrap() + "\n",
            "{arguments:?}"
        );
        assert_eq!(ran.status, Some(0));
    };
    json(
        &["peer", "list"],
        r#"[
        {"name": "hv1", "id": "00000000000000a1", "address": "192.0.2.11", "state": "alive", "self": true, "mtu": 1450, "drained": true},
        {"name": "hv2", "id": "00000000000000a2", "address": "192.0.2.12", "state": "suspect", "self": false, "mtu": null, "drained": false},
        {"name": "hv3", "id": "00000000000000a3", "address": "192.0.2.13", "state": "failed", "self": false, "mtu": null, "drained": false},
        {"name": "switch", "id": null, "address": "192.0.2.60", "state": "static", "self": false, "mtu": null, "drained": false}]"#,
    );
    json(
        &["segment", "list"],
        r#"[
        {"name": "blue", "vni": 10, "bridge": "br-blue", "mode": "nat", "mtu": 1450, "gateway": "hv1",
         "hosts": ["hv1", "hv2", "hv3"], "rolled_back_in": 42},
        {"name": "green", "vni": 20, "bridge": "br-green", "mode": "isolated", "mtu": 1450, "gateway": null,
         "hosts": ["hv1"], "rolled_back_in": null}]"#,
    );
    json(
        &["segment", "show", "blue"],
        r#"
        {"name": "blue", "vni": 10, "bridge": "br-blue", "mode": "nat", "mtu": 1450, "gateway": "hv1",
         "hosts": ["hv1", "hv2", "hv3"], "rolled_back_in": 42, "generation": 4, "written_by": "hv2",
         "configuration": {"name": "blue", "vni": 10, "mode": "nat"}}"#,
    );
    json(
        &["gateway", "list"],
        r#"[
        {"segment": "blue", "host": "hv1", "term": 7, "since": "2026-01-01T00:00:00.25Z", "self": true,
         "reason": "first in order, granted by 3 of 3"},
        {"segment": "green", "host": null, "term": 2, "since": null, "self": false, "reason": "no candidate"}]"#,
    );
    json(
        &["lease", "list"],
        r#"[
        {"segment": "blue", "address": "192.168.124.16", "mac": "52:54:00:aa:bb:01", "hostname": "web",
         "expires": "2026-01-01T00:00:00.25Z", "owner": "hv1", "keeper": "hv2", "copies": 2, "state": "bound"},
        {"segment": "blue", "address": "192.168.124.17", "mac": null, "hostname": null,
         "expires": null, "owner": "hv1", "keeper": null, "copies": 1, "state": "declined"}]"#,
    );
    json(
        &["pool", "show"],
        r#"[
        {"segment": "blue", "range": "192.168.124.16-192.168.124.127", "owner": "hv1", "free": 110, "held": 1,
         "quarantined": 0, "declined": 1, "waits": "for hv3"},
        {"segment": "blue", "range": "192.168.124.128", "owner": null, "free": 110, "held": 1,
         "quarantined": 0, "declined": 1, "waits": "for hv3"}]"#,
    );
    json(
        &["endpoint", "list"],
        r#"[
        {"segment": "blue", "mac": "52:54:00:aa:bb:01", "addresses": ["192.168.124.16", "fd10:0:2::16"],
         "host": "hv1", "interface": "tap0"},
        {"segment": "blue", "mac": "52:54:00:aa:bb:01", "addresses": [], "host": "hv2", "interface": null}]"#,
    );
    json(
        &["plan"],
        r#"[
        {"op": "ip link set vx-blue master br-blue", "segment": "blue"}, {"op": "nft -f -", "segment": null}]"#,
    );
    json(
        &["init"],
        r#"
        {"cluster_id": "00000000000000c1", "already_formed": true, "join_line": "overlayctl join 192.0.2.11:7480"}"#,
    );
    json(
        &["gateway", "move", "blue"],
        r#"
        {"from": "hv1", "gateways": [{"segment": "blue", "host": "hv2", "term": 8,
         "since": "2026-01-01T00:00:00.25Z", "self": true, "reason": "first in order, granted by 3 of 3"}]}"#,
    );
}

#[test]
fn yaml_has_the_keys_of_json() {
    let agent = Agent::start(Mood::Formed);
    for arguments in ASKING {
        let run = |format| agent.run(&[*arguments, &["-o", format]].concat());
        let (json, yaml) = (run("json"), run("yaml"));
        assert_eq!(
            (json.status, yaml.status),
            (Some(0), Some(0)),
            "{arguments:?}: {}",
            yaml.stderr
        );
        let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
        let yaml: serde_json::Value = serde_yaml::from_str(&yaml.stdout).unwrap();
        assert_eq!(json, yaml, "{arguments:?}");
    }
}

#[test]
fn empty_lists_are_a_sentence_for_people_and_an_empty_list_for_machines() {
    let agent = Agent::start(Mood::Unformed);
    let lists: &[&[&str]] = &[
        &["peer", "list"],
        &["segment", "list"],
        &["gateway", "list"],
        &["lease", "list"],
        &["pool", "show"],
        &["endpoint", "list"],
        &["plan"],
    ];
    for arguments in lists {
        let ran = check(&agent, arguments, "");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
        check(&agent, &[*arguments, &["-o", "json"]].concat(), "[]\n");
        let quiet = check(&agent, &[*arguments, &["-q"]].concat(), "");
        assert_eq!(quiet.stderr, "", "{arguments:?}");
    }
}

#[test]
fn status_is_one_screen() {
    let agent = Agent::start(Mood::Formed);
    check(
        &agent,
        &["status"],
        "\
Host     hv1 (00000000000000a1), drained
Underlay 192.0.2.11 on eth0
MTU      underlay 1500, overlay 1450
Cluster  00000000000000c1 (insecure: no TLS between hosts)
Agent    overlayd 0.1.0, started 2026-01-01T00:00:00Z
Plan     2 changes pending (overlayctl plan)
On trial blue (rolled back in 42 s); to keep it, run `overlayctl apply confirm`

Peers
NAME    ADDRESS     STATE           MTU   ID
hv1*    192.0.2.11  alive, drained  1450  00000000000000a1
hv2     192.0.2.12  suspect         -     00000000000000a2
hv3     192.0.2.13  failed          -     00000000000000a3
switch  192.0.2.60  static          -     -

Segments
NAME   VNI  BRIDGE    MODE      MTU   GATEWAY  HOSTS
blue   10   br-blue   nat       1450  hv1      hv1,hv2,hv3
green  20   br-green  isolated  1450  none     hv1

Gateways
SEGMENT  HOST  TERM  SINCE                 REASON
blue     hv1*  7     2026-01-01T00:00:00Z  first in order, granted by 3 of 3
green    none  2     -                     no candidate

Problems
fail     G2   hv1: no active gateway for segment green is known: no candidate
              cause   no candidate is alive
              fix     overlayctl undrain
              verify  overlayctl gateway list
warn     O7   hv1: this host keeps no leases yet
              cause   overlayd does not run on hv3; see O1
              fix     overlayctl peer remove hv3
              verify  overlayctl pool show
",
    );
}

#[test]
fn status_in_json_lists_what_is_wrong_and_check_makes_it_the_exit_status() {
    let agent = Agent::start(Mood::Formed);
    let ran = agent.run(&["status", "--check", "-o", "json"]);
    assert_eq!(ran.status, Some(2), "the worst is a failure");
    let screen: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        screen["problems"][1],
        serde_json::json!({
            "id": "O7", "severity": "warn", "host": "hv1", "segment": null, "subject": "journal",
            "evidence": "this host keeps no leases yet", "cause": "overlayd does not run on hv3",
            "fix": "overlayctl peer remove hv3", "verify": "overlayctl pool show", "depends_on": ["O1"],
        })
    );
    assert_eq!(agent.run(&["status"]).status, Some(0), "only --check judges");
    let well = Agent::start(Mood::Unformed).run(&["status", "--check"]);
    assert_eq!(well.status, Some(0), "{}", well.stderr);
}

#[test]
fn status_of_an_unformed_host_says_what_it_waits_for() {
    let agent = Agent::start(Mood::Unformed);
    check(
        &agent,
        &["status"],
        "\
Host     hv1 (00000000000000a1)
Underlay no address on eth0
MTU      underlay unknown, overlay unknown
Cluster  none: waiting for a formed host at 192.0.2.12:7480
Agent    overlayd 0.1.0, started 2026-01-01T00:00:00Z
Plan     no changes pending

Problems
none
",
    );
}

#[test]
fn a_shown_segment_is_a_file_for_apply() {
    let agent = Agent::start(Mood::Formed);
    let shown = check(
        &agent,
        &["segment", "show", "blue"],
        "\
# generation 4, written by hv2
# on trial: rolled back in 42 s unless you run `overlayctl apply confirm`
# mtu 1450, gateway hv1, hosts hv1, hv2, hv3
segments:
- name: blue
  vni: 10
  mode: nat
",
    );
    let file: serde_json::Value = serde_yaml::from_str(&shown.stdout).unwrap();
    assert_eq!(file["segments"][0]["name"], "blue");
}

#[test]
fn colour_is_only_there_when_wanted() {
    let agent = Agent::start(Mood::Formed);
    assert!(
        !agent.run(&["peer", "list"]).stdout.contains('\x1b'),
        "a pipe is no terminal"
    );
    let coloured = agent.run(&["peer", "list", "--color", "always"]).stdout;
    assert!(coloured.contains('\x1b'), "{coloured}");
    assert!(!agent.run(&["status", "--color", "never"]).stdout.contains('\x1b'));
    let refused = Agent::start(Mood::Refusing).run(&["leave", "--color", "always"]).stderr;
    assert!(refused.starts_with("\x1b["), "{refused}");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let agent = Agent::start(Mood::Formed);
    for arguments in [&["status"][..], &["man"], &["completions", "bash"]] {
        let mut child = agent
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn completions_and_manual_need_no_agent() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Ran::from(
            overlayctl(&["completions", shell, "--socket", "/nonexistent"])
                .output()
                .unwrap(),
        );
        assert_eq!(ran.status, Some(0));
        assert!(
            ran.stdout.contains("COMPLETE") && ran.stdout.contains("overlayctl"),
            "{shell}"
        );
    }
    let page = |arguments: &[&str]| {
        let ran = Ran::from(overlayctl(arguments).output().unwrap());
        assert_eq!(ran.status, Some(0), "{arguments:?}");
        ran.stdout
    };
    let tool = page(&["man", "--socket", "/nonexistent"]);
    assert!(tool.contains(".TH overlayctl 1"), "{tool}");
    for heading in [
        "OVERLAYCTL APPLY",
        "OVERLAYCTL APPLY CONFIRM",
        "OVERLAYCTL PEER REMOVE",
        "OVERLAYCTL STATUS",
    ] {
        assert!(tool.contains(&format!(".SH \"{heading}\"\n")), "{heading}");
    }
    assert!(page(&["man", "overlayd"]).starts_with(".TH overlayd 8"));
    let file = page(&["man", "overlayd.yaml"]);
    assert!(file.starts_with(".TH overlayd.yaml 5"));
    for key in ["state_dir:", "max_leases:", "boot_file:"] {
        assert!(file.contains(key), "{key}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(page(&["man", "--dir", folder.path().to_str().unwrap()]), "");
    for page in [
        "man1/overlayctl.1",
        "man1/overlayctl-apply.1",
        "man1/overlayctl-peer-remove.1",
        "man5/overlayd.yaml.5",
        "man8/overlayd.8",
    ] {
        assert!(folder.path().join(page).exists(), "{page}");
    }
}

#[test]
fn a_shell_is_offered_what_the_agent_knows_and_nothing_without_one() {
    let offered = |agent: &Agent, words: &[&str]| {
        let mut command = agent.command(&[&["--", "overlayctl"], words].concat());
        let index = words.len().to_string();
        command
            .env("COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", index)
            .env("_CLAP_IFS", "\n");
        let ran = Ran::from(command.output().unwrap());
        assert_eq!(ran.status, Some(0), "{}", ran.stderr);
        ran.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let agent = Agent::start(Mood::Formed);
    let cases: &[(&[&str], &str)] = &[
        (&["segment", "show", ""], "blue"),
        (&["lease", "list", "b"], "blue"),
        (&["peer", "add", "192.0.2.1", "--static", "--segment", ""], "blue"),
        (&["gateway", "move", ""], "blue"),
        (&["gateway", "move", "blue", ""], "hv2"),
        (&["peer", "remove", ""], "hv3"),
        (&["lease", "release", ""], "192.168.124.16"),
        (&["und"], "undrain"),
    ];
    for (words, wanted) in cases {
        let found = offered(&agent, words);
        assert!(found.iter().any(|word| word == wanted), "{words:?}: {found:?}");
    }
    assert!(
        !offered(&agent, &["peer", "remove", ""]).contains(&"hv1".to_owned()),
        "this host"
    );
    let refusing = Agent::start(Mood::Refusing);
    assert!(!offered(&refusing, &["segment", "show", ""]).contains(&"blue".to_owned()));
}

#[test]
fn global_options_are_told_once() {
    let help = |arguments: &[&str]| Ran::from(overlayctl(arguments).output().unwrap()).stdout;
    assert!(help(&["--help"]).contains("--socket <PATH>"));
    for command in [&["join", "--help"][..], &["lease", "list", "--help"], &["status", "-h"]] {
        let help = help(command);
        assert!(!help.contains("--socket <PATH>"), "{help}");
        assert!(help.contains("overlayctl --help"), "{help}");
    }
    assert!(
        help(&["apply", "--help"]).contains("--dry-run\n  overlayctl apply -f segments.yaml --confirm 60s"),
        "examples stay"
    );
}
