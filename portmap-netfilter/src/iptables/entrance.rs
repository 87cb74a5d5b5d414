//! Where a way through somebody else's chain begins.

use portmap_rules::Entrance;

use super::saved::Saved;

/// The chain from which a passage is entered, as the filter table is.
///
/// A flush of all rules leaves `DOCKER-USER`, but nothing calls it any more; then it is no entrance.
pub(super) fn of(saved: &Saved<'_>) -> Entrance {
    let name = Entrance::DockerUser.chain();
    let call = format!("-j {name}");
    let forward = saved.chain("filter", Entrance::Forward.chain()).unwrap_or_default();
    match saved.chain("filter", name).is_some() && forward.contains(&call.as_str()) {
        true => Entrance::DockerUser,
        false => Entrance::Forward,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_chain_for_others_is_the_entrance_where_it_is_called() {
        let entrance = |saved: &str| of(&Saved::parse(saved));
        let called =
            "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n";
        assert_eq!(entrance(called), Entrance::DockerUser);
        let flushed = "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n";
        assert_eq!(entrance(flushed), Entrance::Forward);
        assert_eq!(entrance("*filter\n:FORWARD DROP [0:0]\n"), Entrance::Forward);
        assert_eq!(entrance(""), Entrance::Forward);
    }
}
