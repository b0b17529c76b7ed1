! Ranks in Fortran: messages, a reduction, formatted and unformatted files.
program ranks
  use mpi
  implicit none
  integer :: ierr, rank, total, i, next, prev, unit
  integer :: status(MPI_STATUS_SIZE)
  double precision :: row(1000), got(1000), mine, all, back(3)
  character(len=20) :: name

  call MPI_Init(ierr)
  call MPI_Comm_rank(MPI_COMM_WORLD, rank, ierr)
  call MPI_Comm_size(MPI_COMM_WORLD, total, ierr)
  next = mod(rank + 1, total)
  prev = mod(rank + total - 1, total)
  row = [(rank * 1000d0 + i, i = 1, 1000)]
  call MPI_Sendrecv(row, 1000, MPI_DOUBLE_PRECISION, next, 1, got, 1000, MPI_DOUBLE_PRECISION, prev, 1, &
                    MPI_COMM_WORLD, status, ierr)
  if (any(got /= [(prev * 1000d0 + i, i = 1, 1000)])) call MPI_Abort(MPI_COMM_WORLD, 3, ierr)
  mine = sum(got)
  call MPI_Allreduce(mine, all, 1, MPI_DOUBLE_PRECISION, MPI_SUM, MPI_COMM_WORLD, ierr)
  write (name, '(a,i0)') 'rank', rank
  open (newunit=unit, file=name, form='unformatted', status='replace')
  write (unit) mine, all, 3.5d0
  rewind (unit)
  read (unit) back
  close (unit)
  if (any(back /= [mine, all, 3.5d0])) call MPI_Abort(MPI_COMM_WORLD, 4, ierr)
  if (rank == 0) write (*, '(a,i3,a,f14.2,a,es12.4)') 'ranks', total, ' sum', all, ' root', sqrt(all)
  call MPI_Finalize(ierr)
end program
