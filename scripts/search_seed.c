/* Search for the 32-bit seed of a process that draws noise with TFLite, from two numbers that it has drawn.

       cc -O3 -march=native -o search_seed scripts/search_seed.c -lm
       ./search_seed 1.5073577 0.14774242

   The numbers are the first two that the first random operation of an interpreter drew. Each seed that gives them to
   within 1e-5 is printed. `tests/noise_attack.py` foretells all other numbers from it. */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { AT_ONCE = 8, MIDDLE = 156 };

static uint64_t output(uint64_t word, uint64_t next, uint64_t middle)
{
    uint64_t mixed = (word & 0xFFFFFFFF80000000) | (next & 0x7FFFFFFF);
    uint64_t y = middle ^ (mixed >> 1) ^ (mixed & 1 ? 0xB5026F5AA96619E9 : 0);
    y ^= (y >> 29) & 0x5555555555555555;
    y ^= (y << 17) & 0x71D67FFFEDA60000;
    y ^= (y << 37) & 0xFFF7EEE000000000;
    return y ^ (y >> 43);
}

static void first_two(uint64_t key, uint64_t high, float *sine, float *cosine)
{
    uint32_t keys[2] = {key, key >> 32}, x[4] = {0, 0, high, high >> 32};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)x[0] * 0xD2511F53, b = (uint64_t)x[2] * 0xCD9E8D57;
        uint32_t next[4] = {(b >> 32) ^ x[1] ^ keys[0], b, (a >> 32) ^ x[3] ^ keys[1], a};
        for (int i = 0; i < 4; i++) x[i] = next[i];
        keys[0] += 0x9E3779B9;
        keys[1] += 0xBB67AE85;
    }
    float radius = sqrtf(-2 * logf(fmaxf((x[0] & 0x7FFFFF) / 8388608.f, 1e-7f)));
    float angle = 6.2831853f * ((x[1] & 0x7FFFFF) / 8388608.f);
    *sine = sinf(angle) * radius;
    *cosine = cosf(angle) * radius;
}

int main(int count, char **arguments)
{
    if (count != 3) return fprintf(stderr, "usage: search_seed NUMBER NUMBER\n"), 2;
    float first = atof(arguments[1]), second = atof(arguments[2]), sine, cosine;
    for (uint64_t seed = 0; seed < (uint64_t)1 << 32; seed += AT_ONCE) {
        uint64_t word[AT_ONCE], kept[4][AT_ONCE]; /* words 1, 2, 156 and 157 of the state */
        for (int i = 0; i < AT_ONCE; i++) word[i] = seed + i;
        for (uint64_t step = 1; step <= MIDDLE + 1; step++)
            for (int i = 0; i < AT_ONCE; i++) {
                word[i] = 6364136223846793005 * (word[i] ^ (word[i] >> 62)) + step;
                if (step <= 2) kept[step - 1][i] = word[i];
                if (step >= MIDDLE) kept[step - MIDDLE + 2][i] = word[i];
            }
        for (int i = 0; i < AT_ONCE; i++) {
            first_two(output(seed + i, kept[0][i], kept[2][i]), output(kept[0][i], kept[1][i], kept[3][i]), &sine, &cosine);
            if (fabsf(sine - first) < 1e-5f && fabsf(cosine - second) < 1e-5f) {
                printf("%llu\n", (unsigned long long)(seed + i));
                fflush(stdout);
            }
        }
    }
    return 0;
}
