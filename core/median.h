/* The middle of a few timings. */
#ifndef FC_CORE_MEDIAN_H
#define FC_CORE_MEDIAN_H

/** Sorts the values; with an even count the mean of the two in the middle. count is at least 1. */
double fc_median(double *values, int count);

#endif
