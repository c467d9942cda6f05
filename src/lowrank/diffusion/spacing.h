// N steps over T training timesteps: which timesteps, and which noise level σ = √((1 − ᾱ)/ᾱ) each has.
//
// Source: Lin et al., arXiv 2305.08891, table 2 (spacing); Karras et al., arXiv 2206.00364, eq. 5, ρ = 7 (Karras' sequence).
#pragma once

#include <vector>

#include "lowrank/diffusion/noise_schedule.h"

namespace lowrank::diffusion {

/// n values from first to last, both included (the last is left out when n is 1).
std::vector<double> linear_space(double first, double last, int64_t n);

/// Falling timesteps of `steps` steps, rounded to even at halves as numpy does:
/// linspace: 0 … T−1 evenly, whole numbers when `rounded`; leading: i·⌊T/N⌋ + offset; trailing: round(T − i·T/N) − 1.
std::vector<double> spaced_timesteps(const SchedulerConfig& config, int64_t steps, bool rounded);

/// Each value to the nearest float32: timesteps and noise levels are handed on in that precision.
std::vector<double> rounded_to_float(std::vector<double> values);

/// √((1 − ᾱ)/ᾱ) of every training timestep, rising. Where ᾱ is 0 (zero terminal SNR) the last is that of ᾱ = 2⁻²⁴: a
/// sampler in σ cannot begin at infinity.
std::vector<double> training_sigmas(const NoiseSchedule& schedule);

/// `sigmas` at fractional timesteps, linear in between, constant beyond the ends.
std::vector<double> sigmas_at(const std::vector<double>& sigmas, const std::vector<double>& timesteps);

/// (σmax^⅐ + i/(N − 1)·(σmin^⅐ − σmax^⅐))⁷; config's sigma_min and sigma_max take the place of those given.
std::vector<double> karras_sigmas(const SchedulerConfig& config, double smallest, double largest, int64_t steps);

/// The fractional timestep whose σ this is, linear in log σ between training timesteps, kept within them.
double timestep_of(double sigma, const std::vector<double>& sigmas);

}  // namespace lowrank::diffusion
