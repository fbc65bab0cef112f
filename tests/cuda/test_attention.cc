/* Fused attention of the device against the CPU's in double: lengths around tile borders, packed
 * sequences of different lengths, causal, rotary, queries from elsewhere, head widths of every tile
 * and such that allow no wide accesses. */
#include "tests/cuda/parity.h"

#include <algorithm>
#include <cmath>

extern "C" {
#include "core/memory.h"
#include "tests/check.h"
}

struct layout {
    const char *name;
    int heads;
    int64_t width;                      /* of a head */
    std::vector<int64_t> queries, keys; /* of each sequence; keys empty: self attention, fused */
    bool causal, rotated, add, shared_kv;
};

static std::vector<int64_t> offsets_of(const std::vector<int64_t> &lengths)
{
    std::vector<int64_t> offsets = {0};
    for (int64_t n : lengths) {
        offsets.push_back(offsets.back() + n);
    }
    return offsets;
}

static void attention(fc_dtype type, const layout &l)
{
    parity_case c(std::string("attention ") + l.name, type);
    const bool self = l.keys.empty();
    const std::vector<int64_t> q_offsets = offsets_of(l.queries),
                               k_offsets = self ? q_offsets : offsets_of(l.keys);
    const int64_t d = l.heads * l.width, tq = q_offsets.back(), tk = k_offsets.back();
    const int64_t longest_q = *std::max_element(l.queries.begin(), l.queries.end());
    const int64_t longest_k = self ? longest_q : *std::max_element(l.keys.begin(), l.keys.end());
    const int64_t q_stride = self ? 3 * d : d, k_stride = q_stride;
    const both q_at = c.raw(q_offsets), k_at = c.raw(k_offsets);
    const both angles_cos = c.in_float(longest_k * l.width / 2),
               angles_sin = c.in_float(longest_k * l.width / 2);
    const both q = c.in(self ? tq * 3 * d : tq * d), k = self ? q : c.in(tk * d);
    const both v = self || l.shared_kv ? k : c.in(tk * d);
    const both y = c.out(tq * d), lse = c.out_float(tq * l.heads), dy = c.in(tq * d);
    const both dq = c.out(self ? tq * 3 * d : tq * d), dk = self ? dq : c.out(tk * d);
    const both dv = self || l.shared_kv ? dk : c.out(tk * d);
    const auto part = [&](const both &base, int s, int which) -> void * {
        const size_t bytes = s == CPU ? sizeof(double) : fc_dtype_bytes(type);
        return self ? static_cast<char *>(base[s]) + (size_t)(which * d) * bytes : base[s];
    };
    const bool add = l.add || l.shared_kv;
    const auto args = [&](int s) {
        fci_attention_args a = {};
        a.heads = l.heads;
        a.head_width = l.width;
        a.sequences = (int64_t)l.queries.size();
        a.q_offsets = static_cast<const int64_t *>(q_at[s]);
        a.k_offsets = static_cast<const int64_t *>(k_at[s]);
        a.rows_q = tq;
        a.rows_k = tk;
        a.longest_q = longest_q;
        a.longest_k = longest_k;
        a.causal = l.causal;
        a.rope_cos = l.rotated ? angles_cos[s] : nullptr;
        a.rope_sin = l.rotated ? angles_sin[s] : nullptr;
        a.rope_q = self;
        a.q_stride = q_stride;
        a.k_stride = k_stride;
        a.q = q[s];
        a.k = part(k, s, 1);
        a.v = part(v, s, 2);
        a.y = y[s];
        a.lse = lse[s];
        a.dy = dy[s];
        a.dq = {dq[s], add};
        a.dk = {part(dk, s, 1), add};
        a.dv = {part(dv, s, 2), add};
        return a;
    };
    c.check<fci_attention_args>("forward", args, c.cpu()->attention_fwd, c.device()->attention_fwd,
                                2e-6, 1e-2);
    c.check<fci_attention_args>("back", args, c.cpu()->attention_bwd, c.device()->attention_bwd,
                                5e-6, 2e-2);
    std::vector<int64_t> query; /* queries apart stand for the last keys */
    for (size_t i = 0; i < l.queries.size(); i++) {
        query.push_back(self ? 0 : std::max<int64_t>(0, l.keys[i] - l.queries[i]));
    }
    for (size_t i = 0; !self && i < query.size(); i++) {
        if (l.keys[i] < l.queries[i]) {
            return; /* queries that stand for no key have no relevance */
        }
    }
    const both of = c.raw(query), rows = c.out_double(tk);
    fci_attention_args attention_args[2] = {args(CPU), args(DEVICE)};
    const auto relevance = [&](int s) {
        fci_attention_relevance_args a = {};
        a.attention = &attention_args[s];
        a.query = self ? nullptr : static_cast<const int64_t *>(of[s]);
        a.rows = static_cast<double *>(rows[s]);
        return a;
    };
    c.check<fci_attention_relevance_args>("relevance", relevance, c.cpu()->attention_relevance_fwd,
                                          c.device()->attention_relevance_fwd, 2e-6, 1e-2);
}

int main(void)
{
    if (!parity_begin()) {
        return 77;
    }
    const layout layouts[] = {
        {"tower", 2, 64, {197, 197}, {}, false, true, false, false},
        {"text", 2, 64, {5, 77, 1, 20}, {}, true, false, false, false},
        {"tile borders", 1, 32, {63, 64, 65, 128, 1}, {}, false, true, true, false},
        {"causal tile borders", 1, 16, {64, 65, 129}, {}, true, true, false, false},
        {"wide heads", 1, 128, {33, 64, 7}, {}, false, true, false, false},
        {"wide causal heads", 1, 80, {40, 70}, {}, true, false, true, false},
        {"odd heads", 3, 6, {17, 66}, {}, false, true, false, false},
        {"one column", 2, 1, {9, 3}, {}, true, false, false, false},
        {"class tokens", 2, 64, {1, 1, 1}, {197, 50, 1}, false, true, false, false},
        {"queries apart", 2, 8, {3, 70, 2}, {65, 4, 1}, false, true, true, false},
        {"keys are values", 1, 16, {2, 5}, {9, 67}, false, false, false, true},
        {"empty sequences", 1, 16, {0, 4, 0}, {3, 0, 0}, false, false, false, false},
    };
    for (fc_dtype type : {FC_F32, FC_BF16}) {
        for (const layout &l : layouts) {
            attention(type, l);
        }
    }
    return fc_check_end();
}
