//! The simulated repository: commits with parents and trees, refs that move by compare-and-swap, refs that are kept. It outlives every crash.

use std::collections::{BTreeMap, BTreeSet};

use orchestrate::core::event::MergeKind;
use orchestrate::ids::{BranchName, MergeId, Oid};

pub(crate) type CommitId = usize;
pub(crate) type TreeId = usize;

/// What a tree is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    /// An actor's deliverables, by the actor's index.
    Work(usize),
    /// Anything harmless.
    Extra(u32),
    /// Breaks every gate from this level on: 0 agent, 1 team, 2 main.
    Bad { id: u32, level: u32 },
    /// Half of something that breaks every gate when both halves are there.
    BadHalf { id: u32, half: u32 },
    /// Mends what has this id.
    Fix(u32),
    /// A path outside of what an actor owns.
    Outside { id: u32, actor: usize },
    /// It was taken back.
    TakenBack(u32),
    /// A side of a place that can be changed in two ways.
    Side { place: u32, side: u32 },
}

/// A set of items.
pub(crate) type Tree = BTreeSet<Item>;

/// Who made a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    Root,
    Actor,
    Human,
    /// Nobody's: what a merge is going to be.
    Candidate,
    Landing(MergeId, MergeKind),
}

#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) parents: Vec<CommitId>,
    pub(crate) tree: TreeId,
    pub(crate) message: String,
    pub(crate) maker: Maker,
    /// Everything reachable, itself included: a bit per commit.
    reachable: Vec<u64>,
}

#[derive(Default)]
pub(crate) struct Git {
    pub(crate) commits: Vec<Commit>,
    trees: Vec<Tree>,
    tree_ids: BTreeMap<Tree, TreeId>,
    pub(crate) refs: BTreeMap<BranchName, CommitId>,
    pub(crate) kept: BTreeSet<CommitId>,
}

impl Git {
    pub(crate) fn commit(&mut self, parents: &[CommitId], tree: Tree, message: &str, maker: Maker) -> CommitId {
        let id = self.commits.len();
        let mut reachable = vec![0_u64; id / 64 + 1];
        for parent in parents {
            for (word, bits) in reachable.iter_mut().zip(&self.commits[*parent].reachable) {
                *word |= bits;
            }
        }
        reachable[id / 64] |= 1 << (id % 64);
        let tree = self.tree_id(tree);
        self.commits.push(Commit {
            parents: parents.to_vec(),
            tree,
            message: message.to_owned(),
            maker,
            reachable,
        });
        id
    }

    fn tree_id(&mut self, tree: Tree) -> TreeId {
        if let Some(id) = self.tree_ids.get(&tree) {
            return *id;
        }
        let id = self.trees.len();
        self.trees.push(tree.clone());
        self.tree_ids.insert(tree, id);
        id
    }

    pub(crate) fn tip(&self, branch: &BranchName) -> Option<CommitId> {
        self.refs.get(branch).copied()
    }

    pub(crate) fn tree_of(&self, commit: CommitId) -> &Tree {
        &self.trees[self.commits[commit].tree]
    }

    pub(crate) fn tree(&self, tree: TreeId) -> &Tree {
        &self.trees[tree]
    }

    /// Whether `ancestor` is reachable from `commit`; a commit is reachable from itself.
    pub(crate) fn contains(&self, commit: CommitId, ancestor: CommitId) -> bool {
        self.commits[commit]
            .reachable
            .get(ancestor / 64)
            .is_some_and(|word| word >> (ancestor % 64) & 1 == 1)
    }

    /// Commits reachable from `new` and from none of `old`, oldest first.
    pub(crate) fn between(&self, new: CommitId, old: &[CommitId]) -> Vec<CommitId> {
        let mut words = self.commits[new].reachable.clone();
        for commit in old {
            for (word, bits) in words.iter_mut().zip(&self.commits[*commit].reachable) {
                *word &= !bits;
            }
        }
        (0..words.len() * 64)
            .filter(|id| words[id / 64] >> (id % 64) & 1 == 1)
            .collect()
    }

    /// Merges in memory: the union, unless both sides chose differently in the same place.
    pub(crate) fn merge(&mut self, source: CommitId, target: CommitId) -> Result<TreeId, Vec<String>> {
        let (ours, theirs) = (self.tree_of(target), self.tree_of(source));
        let mut paths = Vec::new();
        for item in theirs.difference(ours) {
            if let Item::Side { place, side } = item {
                let other = Item::Side {
                    place: *place,
                    side: 1 - side,
                };
                if ours.contains(&other) && !theirs.contains(&other) {
                    paths.push(format!("place-{place}"));
                }
            }
        }
        if !paths.is_empty() {
            return Err(paths);
        }
        let tree: Tree = ours.union(theirs).copied().collect();
        Ok(self.tree_id(tree))
    }

    /// The union whatever the conflicts: what somebody makes who settles them.
    pub(crate) fn union(&self, left: CommitId, right: CommitId) -> Tree {
        self.tree_of(left).union(self.tree_of(right)).copied().collect()
    }
}

/// Whether a tree passes a gate of this level.
pub(crate) fn passes(tree: &Tree, level: u32) -> bool {
    faults_of(tree).iter().all(|(_, from)| *from > level)
}

/// What in a tree nobody has mended: ids, and the level from which it matters.
pub(crate) fn faults_of(tree: &Tree) -> Vec<(u32, u32)> {
    tree.iter()
        .filter_map(|item| match item {
            Item::Bad { id, level } => Some((*id, *level)),
            Item::BadHalf { id, half: 0 } if tree.contains(&Item::BadHalf { id: *id, half: 1 }) => Some((*id, 0)),
            _ => None,
        })
        .filter(|(id, _)| !tree.contains(&Item::Fix(*id)))
        .collect()
}

/// What is needed so that a tree passes every gate, whatever it is merged with later.
pub(crate) fn mended(tree: &mut Tree) {
    let fixes: Vec<Item> = tree
        .iter()
        .filter_map(|item| match item {
            Item::Bad { id, .. } | Item::BadHalf { id, .. } => Some(Item::Fix(*id)),
            Item::Outside { id, .. } => Some(Item::TakenBack(*id)),
            _ => None,
        })
        .collect();
    tree.extend(fixes);
}

pub(crate) fn oid(commit: CommitId) -> Oid {
    Oid::new(format!("c{commit}"))
}

pub(crate) fn commit_of(oid: &Oid) -> CommitId {
    oid.as_str()[1..].parse().expect("an oid of this world")
}

pub(crate) fn tree_oid(tree: TreeId) -> Oid {
    Oid::new(format!("t{tree}"))
}

pub(crate) fn tree_of_oid(oid: &Oid) -> TreeId {
    oid.as_str()[1..].parse().expect("a tree of this world")
}
