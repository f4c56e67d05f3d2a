// report_page.h - what the HTML report of a stored experiment says: table, statements that the figures allow, pictures,
// recipe, provenance. How a page is made is analysis/report/report.h.
#ifndef HY_REPORTPAGE_H
#define HY_REPORTPAGE_H
#include "analysis/report/report.h"
#include "analysis/report/plots.h"

// p: its files are drawn as SVG. Adds everything to the page.
hy_status hy_report_page(const hy_plots *p, hy_report *r);
// The part report_facts.c: recipe, provenance and definitions from the store.
hy_status hy_report_recipe(const hy_plots *p, hy_report *r);
hy_status hy_report_provenance(const hy_plots *p, hy_report *r);
#endif
