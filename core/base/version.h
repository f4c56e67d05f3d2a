// version.h - which build this is: for provenance.
#ifndef HY_VERSION_H
#define HY_VERSION_H
#define HY_VERSION "0.1.0"            // of the program; CHANGELOG.md tells what each brought
const char *hy_version_commit(void);  // short git commit of the tree when it was built, "unknown" outside git
int hy_version_dirty(void);           // 1: the sources differed from that commit
const char *hy_version_build(void);   // compiler and options that change behaviour
#endif
