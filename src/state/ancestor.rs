//! Where states that were forked from one another come from.
//!
//! Revisions and their parents form a directed acyclic graph; a revision
//! counts as its own ancestor. The best common ancestor of several revisions is
//! a common one that no other common one descends from: git's merge base. After
//! criss-cross merges there are several of them, and the youngest is taken.

use std::collections::HashMap;
use std::hash::Hash;

/// The best common ancestor of `heads`, `None` where they have none (or there
/// are no heads).
///
/// `parents` gives the parents of a revision (an unknown one may have none),
/// `created` the time it was made in milliseconds since 1970. Times only decide
/// between equally good ancestors, so clocks may be wrong: the latest is taken,
/// and of several made at once the one with the largest id.
///
/// Takes time and memory in proportion to the ancestors, for each head once.
pub fn common_ancestor<'g, Id: Eq + Hash + Ord>(
    heads: &'g [Id],
    parents: impl Fn(&Id) -> &'g [Id],
    created: impl Fn(&Id) -> f64,
) -> Option<&'g Id> {
    // How many heads each revision is an ancestor of, and the last of them.
    let mut reached: HashMap<&Id, (usize, usize)> = HashMap::new();
    for (head, id) in heads.iter().enumerate() {
        let mut open = vec![id];
        while let Some(id) = open.pop() {
            let (count, last) = reached.entry(id).or_insert((0, usize::MAX));
            if *last != head {
                (*count, *last) = (*count + 1, head);
                open.extend(parents(id));
            }
        }
    }
    reached.retain(|_, (count, _)| *count == heads.len());
    // All ancestors of a common one are common too, so one that another
    // descends from is the parent of a common one.
    let mut best = reached.clone();
    for id in reached.keys() {
        for parent in parents(id) {
            best.remove(parent);
        }
    }
    best.into_keys()
        .max_by(|a, b| created(a).total_cmp(&created(b)).then_with(|| a.cmp(b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The parents of each node. Parents have smaller numbers.
    type Dag = Vec<Vec<usize>>;

    fn best(dag: &Dag, created: &[f64], heads: &[usize]) -> Option<usize> {
        common_ancestor(heads, |&id| dag[id].as_slice(), |&id| created[id]).copied()
    }

    /// A node and all it comes from.
    fn ancestors(dag: &Dag, id: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::from([id]);
        for &parent in &dag[id] {
            found.append(&mut ancestors(dag, parent));
        }
        found
    }

    /// By the definition: common, and no ancestor of another that is.
    fn oracle(dag: &Dag, created: &[f64], heads: &[usize]) -> Option<usize> {
        let sets = heads.iter().map(|&head| ancestors(dag, head));
        let common = sets.reduce(|a, b| &a & &b)?;
        let is_covered = |id| {
            let mut others = common.iter().filter(|&&other| other != id);
            others.any(|&other| ancestors(dag, other).contains(&id))
        };
        let best = common.iter().copied().filter(|&id| !is_covered(id));
        best.max_by(|&a, &b| created[a].total_cmp(&created[b]).then(a.cmp(&b)))
    }

    fn dag() -> impl Strategy<Value = (Dag, Vec<f64>)> {
        let node = prop::collection::vec(any::<prop::sample::Index>(), 0..3);
        prop::collection::vec((node, 0u8..4), 1..16).prop_map(|nodes| {
            let parents = |(id, (parents, _)): (usize, &(Vec<prop::sample::Index>, u8))| {
                let parents = parents.iter().filter(|_| id > 0);
                parents.map(|parent| parent.index(id)).collect()
            };
            let dag = nodes.iter().enumerate().map(parents).collect();
            let created = nodes.iter().map(|(_, created)| f64::from(*created));
            (dag, created.collect())
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_ancestor_is_the_one_of_the_definition(
            (dag, created) in dag(),
            heads in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let heads: Vec<_> = heads.iter().map(|head| head.index(dag.len())).collect();
            prop_assert_eq!(best(&dag, &created, &heads), oracle(&dag, &created, &heads));
        }
    }

    #[test]
    fn two_forks_come_from_where_they_were_forked() {
        // 0 - 1 - 2
        //      \- 3 - 4
        let dag = vec![vec![], vec![0], vec![1], vec![1], vec![3]];
        assert_eq!(best(&dag, &[0.0; 5], &[2, 4]), Some(1));
        assert_eq!(best(&dag, &[0.0; 5], &[4, 3]), Some(3));
        assert_eq!(best(&dag, &[0.0; 5], &[4]), Some(4));
        assert_eq!(best(&dag, &[0.0; 5], &[2, 3, 0]), Some(0));
        assert_eq!(best(&dag, &[0.0; 5], &[]), None);
    }

    #[test]
    fn of_a_criss_cross_the_youngest_is_taken() {
        // 1 and 2 were merged twice, into 3 and into 4.
        let dag = vec![vec![], vec![0], vec![0], vec![1, 2], vec![2, 1]];
        assert_eq!(best(&dag, &[0.0, 2.0, 1.0, 3.0, 3.0], &[3, 4]), Some(1));
        assert_eq!(best(&dag, &[0.0, 1.0, 1.0, 3.0, 3.0], &[3, 4]), Some(2));
    }

    #[test]
    fn states_of_their_own_have_no_ancestor() {
        assert_eq!(best(&vec![vec![], vec![]], &[0.0; 2], &[0, 1]), None);
    }

    #[test]
    fn long_and_much_merged_histories_are_no_trouble() {
        // Every revision merges its two predecessors: 2^50000 ways to the root.
        let dag: Dag = (0..50_000usize)
            .map(|id| (id.saturating_sub(2)..id).collect())
            .collect();
        let created: Vec<f64> = (0..50_000).map(f64::from).collect();
        assert_eq!(best(&dag, &created, &[49_999, 49_998]), Some(49_998));
    }
}
