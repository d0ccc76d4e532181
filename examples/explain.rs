//! Why does this request go there? Asked without sending it.

use http::Request;
use pointsman::{
    LoadBalancer, Peer, RuleTable, Target, TargetGroup,
    rule::{Condition, Forward, Redirect, Rule},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let web = TargetGroup::builder("web").build()?;
    web.register(Target::new("10.0.0.1:80".parse()?));
    web.register(Target::new("10.0.0.2:80".parse()?));
    let office = TargetGroup::builder("office").build()?;
    let rules = RuleTable::builder()
        .rule(
            Rule::new(10)
                .when(Condition::host_header(["old.example.com"]))
                .then(Redirect::moved_permanently().host("www.example.com")),
        )
        .rule(
            Rule::new(20)
                .when(Condition::path_pattern(["/admin/*"]))
                .when(Condition::source_ip(["192.0.2.0/24"]))
                .then(Forward::to(&office)),
        )
        .default_action(Forward::to(&web))
        .build()?;
    let balancer = LoadBalancer::new(rules);

    let asked = [
        ("old.example.com", "/a?b=1", "198.51.100.7:4000"),
        ("www.example.com", "/admin/users", "192.0.2.9:4000"),
        ("www.example.com", "/admin/users", "198.51.100.7:4000"),
    ];
    for (host, path, client) in asked {
        let peer = Peer::new(client.parse()?).local("203.0.113.1:80".parse()?);
        let request = Request::get(path).header("host", host).extension(peer).body(())?;
        println!("GET http://{host}{path} from {client}");
        println!("{}", balancer.explain(&request));
    }
    Ok(())
}
