//! The oracle: the sum as it is defined, place by place.

use super::{BLOCK, GROUP, Job};
use crate::engine::matrix::{self, Encoding};

pub fn linear(job: Job) {
    let encoding = job.matrix.encoding;
    let mut numbers = [[0; BLOCK]; GROUP];
    for group in job.groups.clone() {
        for row in 0..job.rows {
            job.out(row, group).fill(0.0);
        }
        for block in 0..job.matrix.blocks() {
            let weights = job.matrix.block(group, block);
            unpack(encoding, weights, &mut numbers);
            for row in 0..job.rows {
                let at = block * job.rows + row;
                let x = &job.codes[at * BLOCK..][..BLOCK];
                let out = job.out(row, group);
                for (n, out) in out.iter_mut().enumerate() {
                    let products = numbers[n].iter().zip(x);
                    let sum: i32 = products.map(|(w, &x)| i32::from(*w) * i32::from(x)).sum();
                    *out += sum as f32 * (matrix::scale(weights, n) * job.scales[at]);
                }
            }
        }
    }
}

fn unpack(encoding: Encoding, weights: &[u8], numbers: &mut [[i16; BLOCK]; GROUP]) {
    for (n, numbers) in numbers.iter_mut().enumerate() {
        for (k, number) in numbers.iter_mut().enumerate() {
            *number = matrix::number(encoding, weights, n, k) as i16;
        }
    }
}
