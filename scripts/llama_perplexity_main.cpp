// Options and set-up as llama-perplexity has them, for its two functions above. See scripts/llama_perplexity.
int main(int argc, char ** argv) {
    common_params params;
    for (int i = 1; i < argc; i++) {
        const std::string name = argv[i];
        if (name == "--kl-divergence") {
            params.kl_divergence = true;
            continue;
        }
        const std::string value = argv[++i];
        if (name == "-m") params.model = value;
        else if (name == "-t") params.n_threads = std::stoi(value);
        else if (name == "-c") params.n_ctx = std::stoi(value);
        else if (name == "-b") params.n_batch = std::stoi(value);
        else if (name == "-ub") params.n_ubatch = std::stoi(value);
        else if (name == "--chunks") params.n_chunks = std::stoi(value);
        else if (name == "--kl-divergence-base") params.logits_file = value;
        else if (name == "-f") {
            std::ifstream file(value, std::ios::binary);
            std::stringstream text;
            text << file.rdbuf();
            params.prompt = text.str();
            if (!params.prompt.empty() && params.prompt.back() == '\n') params.prompt.pop_back();
        }
    }
    const int n_ctx = params.n_ctx;
    params.n_parallel = std::max(1, params.n_batch / n_ctx);
    params.n_ctx = params.n_parallel * n_ctx;
    params.n_batch = std::min(params.n_batch, params.n_ctx);

    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    auto model_params = llama_model_default_params();
    model_params.n_gpu_layers = 0;
    llama_model * model = llama_model_load_from_file(params.model.c_str(), model_params);
    auto context_params = llama_context_default_params();
    context_params.n_ctx = params.n_ctx;
    context_params.n_batch = params.n_batch;
    context_params.n_ubatch = params.n_ubatch;
    context_params.n_seq_max = params.n_parallel;
    context_params.n_outputs_max = 0;
    context_params.n_threads = context_params.n_threads_batch = params.n_threads;
    llama_context * context = llama_init_from_model(model, context_params);
    if (params.kl_divergence) kl_divergence(context, params);
    else perplexity(context, params, n_ctx);
    printf("\n");
    return 0;
}
