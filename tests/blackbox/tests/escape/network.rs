//! No network but loopback, and no sockets of the host.

use std::{
    net::TcpListener,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
};

use playhouse_blackbox::on_shared;

use crate::probe::{all_denied, denied, denied_times, script};

#[test]
fn only_plain_socket_families_can_be_made() {
    denied_times(
        r#"
attempt('raw IP', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt('raw IPv6', lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58))
attempt('packet', lambda: socket.socket(17, socket.SOCK_RAW, 3))
for name, family in {'VSOCK': 40, 'ALG': 38, 'BLUETOOTH': 31, 'CAN': 29, 'KEY': 15, 'NFC': 39, 'TIPC': 30, 'RDS': 21, 'XDP': 44, 'AX25': 3, 'X25': 9, 'PPPOX': 24, 'KCM': 41, 'SMC': 43}.items():
    attempt(name, lambda: must(call(41, family, 1, 0) >= 0 or call(41, family, 5, 0) >= 0))
"#,
        17,
    );
}

#[test]
fn metadata_services_and_the_internet_can_not_be_reached() {
    denied_times(
        r#"
def connect(family, address):
    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(5); s.connect(address); return address
for host, port in [('169.254.169.254', 80), ('1.1.1.1', 443), ('1.1.1.1', 53), ('8.8.8.8', 53), ('10.0.0.1', 80), ('192.168.0.1', 80), ('172.17.0.1', 80), ('100.100.100.200', 80)]:
    attempt(host, lambda: connect(socket.AF_INET, (host, port)))
for host in ['fd00:ec2::254', '2606:4700:4700::1111', 'fe80::1']:
    attempt(host, lambda: connect(socket.AF_INET6, (host, 80)))
def datagram():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.sendto(b'x', ('8.8.8.8', 53)); return True
attempt('a datagram', datagram)
attempt('names', lambda: socket.getaddrinfo('example.com', 443))
attempt('another interface', lambda: must([n for _, n in socket.if_nameindex() if n != 'lo']))
"#,
        14,
    );
}

#[test]
fn the_hosts_loopback_is_not_the_sandboxs() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("set");
    let port = listener.local_addr().expect("its address").port();
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let ready = arena.server().ready();
        let port_of = |url: &str| url.rsplit(':').next().expect("a port").to_owned();
        let body = format!(
            "for port in [{port}, {}, {}, 22, 80]:\n    attempt('port %d' % port, lambda: socket.create_connection(('127.0.0.1', port), timeout=5))\n    attempt('port6 %d' % port, lambda: socket.create_connection(('::1', port), timeout=5))",
            port_of(&ready.http),
            port_of(&ready.admin)
        );
        all_denied(&script(&ws, &body).await, 10);
    });
    assert!(listener.accept().is_err(), "nobody knocked");
}

#[test]
fn the_hosts_abstract_sockets_are_not_seen() {
    let name = format!("playhouse-canary-{:x}", rand::random::<u64>());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let listener = UnixListener::bind_addr(&address).expect("bound");
    listener.set_nonblocking(true).expect("set");
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = format!(
            "
def connect(path):
    s = socket.socket(socket.AF_UNIX); s.connect(path); return path
attempt('abstract', lambda: connect('\\0{name}'))
attempt('listed', lambda: must('{name}' in open('/proc/net/unix').read()))
"
        );
        all_denied(&script(&ws, &body).await, 2);
    });
    assert!(listener.accept().is_err(), "nobody knocked");
}

#[test]
fn docker_and_dbus_sockets_are_not_there() {
    denied_times(
        r#"
def connect(path):
    s = socket.socket(socket.AF_UNIX); s.connect(path); return path
for path in ['/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock', '/run/dbus/system_bus_socket', '/run/systemd/private', '/run/user/0/bus', '/tmp/.X11-unix/X0', '/run/podman/podman.sock']:
    attempt(path, lambda: connect(path))
"#,
        8,
    );
}

#[test]
fn the_network_can_not_be_configured() {
    denied(
        r#"
import fcntl
attempt('an address for lo', lambda: must(os.system('ip addr add 10.9.9.9/8 dev lo >/dev/null 2>&1') == 0))
attempt('a new link', lambda: must(os.system('ip link add v0 type veth peer name v1 >/dev/null 2>&1') == 0))
attempt('SIOCSIFFLAGS', lambda: fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH22x', b'lo', 0)))
"#,
    );
}

#[test]
fn loopback_itself_works() {
    on_shared(async |arena| {
        let ws = arena.workspace().await;
        let body = "s = socket.create_server(('127.0.0.1', 0)); c = socket.create_connection(s.getsockname()); a, _ = s.accept(); a.sendall(b'hi'); print(c.recv(9).decode())";
        assert_eq!(script(&ws, body).await, "hi\n");
    });
}
