// A rank of Open MPI that nobody launched, in a program that loads the library itself, as languages do.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void parameters(const char *when)
{
	FILE *file = fopen("/etc/openmpi/openmpi-mca-params.conf", "r");
	int lines = 0, at;

	while (file && (at = getc(file)) != EOF)
		lines += at == '\n';
	if (file)
		fclose(file);
	printf("parameters %s: %d lines\n", when, lines);
}

int main(void)
{
	parameters("before");
	void *library = dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL);
	if (!library) {
		printf("%s\n", dlerror());
		return 1;
	}
	int (*init)(int *, char ***) = (int (*)(int *, char ***))dlsym(library, "MPI_Init");
	int (*size)(void *, int *) = (int (*)(void *, int *))dlsym(library, "MPI_Comm_size");
	int (*finalize)(void) = (int (*)(void))dlsym(library, "MPI_Finalize");
	void *world = dlsym(library, "ompi_mpi_comm_world");
	int ranks = 0;

	int begun = init(NULL, NULL);
	int asked = size(world, &ranks);
	printf("init %d, size %d: %d\n", begun, asked, ranks);
	printf("told by the environment: %s\n", getenv("OMPI_MCA_ess_singleton_isolated") ? "yes" : "no");
	printf("finalize %d\n", finalize());
	return 0;
}
