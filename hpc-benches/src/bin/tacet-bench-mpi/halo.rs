//! The exchange of halos: ranks form a grid of three dimensions, periodic and as near to a cube as their
//! number allows. Each sends a face to each of its neighbours and gets one from them.
//!
//! In a dimension that is one rank wide, a rank would be its own neighbour: nothing is sent there. In one
//! of two, both neighbours are the same rank, as in any periodic grid.

use mpi::Rank;
use mpi::point_to_point::{Destination, Source};
use mpi::request::multiple_scope;
use mpi::traits::Communicator;

use crate::ranks::{Ranks, SIZES, message};

const MOST_FACES: Rank = 6;

/// Who gets a face, and who sends one to this rank the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Neighbours {
    to: Rank,
    from: Rank,
}

/// Measures the exchange over the size of a face.
pub fn measure(ranks: &Ranks) {
    let neighbours = neighbours(ranks.rank, near_cube(ranks.count));
    let numbered = || (0..).zip(&neighbours);
    for &size in SIZES {
        let sent: Vec<Vec<u8>> =
            numbered().map(|(i, face)| message(ranks.rank * MOST_FACES + i, face.to, size.bytes)).collect();
        let mut received = vec![vec![0; size.bytes]; neighbours.len()];
        let samples = ranks.take(size.batch(), || exchange(ranks, &neighbours, &sent, &mut received));
        let expected = numbered().map(|(i, face)| message(face.from * MOST_FACES + i, ranks.rank, size.bytes));
        ranks.check("halo", expected.eq(received));
        ranks.print_size("halo", "ns", size, samples);
    }
}

fn exchange(ranks: &Ranks, neighbours: &[Neighbours], sent: &[Vec<u8>], received: &mut [Vec<u8>]) {
    let count = 2 * neighbours.len();
    multiple_scope(count, |scope, requests| {
        for ((tag, face), place) in (0..).zip(neighbours).zip(received) {
            let from = ranks.world.process_at_rank(face.from);
            requests.add(from.immediate_receive_into_with_tag(scope, &mut place[..], tag));
        }
        for ((tag, face), message) in (0..).zip(neighbours).zip(sent) {
            let to = ranks.world.process_at_rank(face.to);
            requests.add(to.immediate_send_with_tag(scope, &message[..], tag));
        }
        requests.wait_all(&mut Vec::with_capacity(count));
    });
}

/// The box of so many ranks with the smallest surface, longest side first.
fn near_cube(ranks: Rank) -> [Rank; 3] {
    let sides = |ranks: Rank| (1..=ranks).filter(move |side| ranks % side == 0);
    let boxes = sides(ranks).flat_map(|a| sides(ranks / a).map(move |b| [a, b, ranks / a / b]));
    boxes
        .filter(|[a, b, c]| a >= b && b >= c)
        .min_by_key(|&[a, b, c]| {
            i64::from(a) * i64::from(b) + i64::from(b) * i64::from(c) + i64::from(a) * i64::from(c)
        })
        .unwrap_or([ranks, 1, 1])
}

fn neighbours(rank: Rank, extent: [Rank; 3]) -> Vec<Neighbours> {
    let mut neighbours = Vec::new();
    let mut stride = 1;
    for side in extent {
        if side > 1 {
            let place = rank / stride % side;
            let at = |place: Rank| rank + (place % side - rank / stride % side) * stride;
            let (above, below) = (at(place + 1), at(place + side - 1));
            neighbours.push(Neighbours { to: above, from: below });
            neighbours.push(Neighbours { to: below, from: above });
        }
        stride *= side;
    }
    neighbours
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_near_to_cubes() {
        assert_eq!(near_cube(1), [1, 1, 1]);
        assert_eq!(near_cube(2), [2, 1, 1]);
        assert_eq!(near_cube(12), [3, 2, 2]);
        assert_eq!(near_cube(64), [4, 4, 4]);
        assert_eq!(near_cube(7), [7, 1, 1]);
    }

    #[test]
    fn two_ranks_are_each_others_neighbours_on_both_sides() {
        let peer = Neighbours { to: 1, from: 1 };
        assert_eq!(neighbours(0, [2, 1, 1]), [peer, peer]);
    }

    #[test]
    fn grids_are_periodic() {
        // Rank 0 of 3 x 2 x 2: places (0, 0, 0); strides 1, 3, 6.
        let expected = [(1, 2), (2, 1), (3, 3), (3, 3), (6, 6), (6, 6)].map(|(to, from)| Neighbours { to, from });
        assert_eq!(neighbours(0, [3, 2, 2]), expected);
        // Whoever is sent to, receives it the same way.
        for rank in 0..12 {
            for (i, face) in neighbours(rank, [3, 2, 2]).into_iter().enumerate() {
                assert_eq!(neighbours(face.to, [3, 2, 2])[i].from, rank);
            }
        }
    }
}
