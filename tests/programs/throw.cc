// C++ exceptions: thrown and caught in place, through several frames with destructors, across
// a thread by exception_ptr, rethrown, and one that nobody catches (argument "uncaught").
#include <cstdio>
#include <cstring>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <typeinfo>
#include <vector>

namespace {

struct Trace {
    const char *name;
    explicit Trace(const char *n) : name(n) {}
    ~Trace() { std::cout << "unwound " << name << '\n'; }
};

struct Special : std::runtime_error {
    int code;
    Special(const std::string &what, int c) : std::runtime_error(what), code(c) {}
};

[[gnu::noinline]] void inner(int depth) {
    Trace trace("inner");
    if (depth == 0)
        throw Special("from the bottom", 17);
    inner(depth - 1);
}

[[gnu::noinline]] void middle() {
    Trace trace("middle");
    std::vector<std::string> strings(100, std::string(100, 'x'));
    inner(3);
}

[[gnu::noinline]] void outer() {
    Trace trace("outer");
    try {
        middle();
    } catch (const std::out_of_range &) {
        std::cout << "wrong handler\n";
    }
}

void in_threads() {
    std::vector<std::thread> threads;
    std::vector<std::exception_ptr> caught(8);
    for (std::size_t i = 0; i < caught.size(); i++)
        threads.emplace_back([i, &caught] {
            try {
                throw Special("thread", static_cast<int>(i));
            } catch (...) {
                caught[i] = std::current_exception();
            }
        });
    for (auto &thread : threads)
        thread.join();
    for (auto &pointer : caught)
        try {
            std::rethrow_exception(pointer);
        } catch (const Special &special) {
            std::cout << special.what() << ' ' << special.code << '\n';
        }
    auto future = std::async(std::launch::async, []() -> int { throw std::logic_error("from async"); });
    try {
        future.get();
    } catch (const std::exception &error) {
        std::cout << error.what() << '\n';
    }
}

}  // namespace

int main(int argc, char **argv) {
    std::cout << std::unitbuf;
    if (argc > 1 && !std::strcmp(argv[1], "uncaught")) {
        std::cout << "before\n";
        throw Special("nobody catches this", 1);
    }
    try {
        throw 42;
    } catch (int value) {
        std::cout << "int " << value << '\n';
    }
    try {
        outer();
    } catch (const Special &special) {
        std::cout << special.what() << ", code " << special.code << '\n';
    }
    try {
        try {
            (void)std::vector<int>().at(5);
        } catch (const std::exception &) {
            throw;
        }
    } catch (const std::out_of_range &) {
        std::cout << "out of range\n";
    }
    try {
        (void)dynamic_cast<Special &>(*std::unique_ptr<std::exception>(new std::logic_error("no")));
    } catch (const std::bad_cast &) {
        std::cout << "bad cast\n";
    }
    int sum = 0;
    for (int i = 0; i < 1000; i++)
        try {
            if (i % 3 == 0)
                throw i;
        } catch (int value) {
            sum += value;
        }
    std::cout << "sum " << sum << '\n';
    in_threads();
    std::map<std::string, int> counts;
    for (const char *word : {"one", "two", "one", "three", "one"})
        counts[word]++;
    for (const auto &[word, count] : counts)
        std::cout << word << ' ' << count << '\n';
    return 3;
}
