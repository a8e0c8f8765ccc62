// The little of llama.cpp's `common` that its perplexity functions use. See scripts/llama_perplexity.
#pragma once
#include "llama.h"
#include <string>
#include <vector>

struct common_params {
    int n_ctx = 512, n_batch = 2048, n_ubatch = 512, n_chunks = -1, n_parallel = 1, ppl_stride = 0;
    int ppl_output_type = 0, n_threads = 2;
    std::string prompt, logits_file, model;
    bool kl_divergence = false;
};

// The rows of one call, in llama.cpp's plain batch.
struct common_batch {
    std::vector<llama_token> token;
    std::vector<llama_pos> pos;
    std::vector<int32_t> n_seq;
    std::vector<llama_seq_id> seq;
    std::vector<llama_seq_id *> seq_pointer;
    std::vector<int8_t> output;

    common_batch(llama_context *) {}

    void clear() {
        token.clear(), pos.clear(), n_seq.clear(), seq.clear(), output.clear();
    }

    void add(llama_token id, llama_pos at, llama_seq_id lane, bool wanted) {
        token.push_back(id), pos.push_back(at), n_seq.push_back(1), seq.push_back(lane), output.push_back(wanted);
    }

    llama_batch get() {
        seq_pointer.clear();
        for (auto & lane : seq) {
            seq_pointer.push_back(&lane);
        }
        return {(int32_t) token.size(), token.data(), nullptr, pos.data(), n_seq.data(), seq_pointer.data(), output.data()};
    }
};

#define LLAMA_PROCESS_TYPE_DECODE 0
#define llama_process(context, type, batch) llama_decode(context, batch)

inline std::vector<llama_token> common_tokenize(const llama_context * context, const std::string & text, bool special) {
    const llama_vocab * vocab = llama_model_get_vocab(llama_get_model(context));
    std::vector<llama_token> tokens(text.size() + 8);
    tokens.resize(llama_tokenize(vocab, text.c_str(), text.size(), tokens.data(), tokens.size(), special, false));
    return tokens;
}
