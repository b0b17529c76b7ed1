"""What mpi4py does with an MPI library that came as a wheel: objects, buffers, windows, files."""
import array
import sys

from mpi4py import MPI

world = MPI.COMM_WORLD
rank, size = world.rank, world.size
after, before = (rank + 1) % size, (rank - 1) % size

total = world.allreduce(rank + 1)
objects = world.allgather({"rank": rank, "list": [rank] * 3})
numbers = array.array("d", range(rank, rank + 100000))
sums = array.array("d", bytes(8 * 100000))
world.Allreduce(numbers, sums)
large, got = bytearray([rank]) * (4 << 20), bytearray(4 << 20)
world.Sendrecv(large, after, 0, got, before, 0)

window = MPI.Win.Allocate(800, 8, comm=world)
window.Fence()
window.Put(array.array("d", [rank] * 10), after)
window.Fence()
put = array.array("d", window.tomemory()[:80].tobytes())
window.Free()

shared = MPI.File.Open(world, "wheel.dat", MPI.MODE_CREATE | MPI.MODE_RDWR)
shared.Write_at_all(rank * 8, array.array("d", [rank]))
shared.Sync()
world.Barrier()
read = array.array("d", [-1])
shared.Read_at_all(after * 8, read)
shared.Close()

right = [
    total == size * (size + 1) // 2,
    objects[-1] == {"rank": size - 1, "list": [size - 1] * 3},
    all(sums[i] == sum(i + r for r in range(size)) for i in range(0, 100000, 997)),
    got == bytearray([before]) * (4 << 20),
    list(put) == [before] * 10,
    read[0] == after,
]
everybody = world.gather(right)
if rank == 0:
    print(size, "ranks:", everybody)
    sys.stdout.flush()
