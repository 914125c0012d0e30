// What the model sees of a picture: tiles of 512 x 512 pixels, row by row, and a global frame after them.
//
//     03_image_to_tiles PICTURE [SHEET.png]     prints the grid; SHEET.png shows it

#include <cstdio>

#include <smolvlm/image/contact_sheet.hpp>
#include <smolvlm/image/load_stb.hpp>
#include <smolvlm/image/save_png.hpp>

int main(int argc, char** argv) {
    using namespace smolvlm;
    if (argc < 2 || argc > 3) {
        std::fprintf(stderr, "usage: %s PICTURE [SHEET.png]\n", argv[0]);
        return 2;
    }
    try {
        const Image picture = load_image(argv[1]);  // upright RGB, as a photograph's EXIF tag wants it
        const ImageProcessorConfig config;          // SmolVLM-256M's and 500M's; a checkpoint brings its own
        const ProcessedImage processed = process_image(picture, config);

        // The plan tells how it came about; it depends on the sizes alone.
        const TilePlan& plan = processed.plan;
        const auto print_size = [](const char* what, TilePlan::Size size) {
            std::printf("%-28s %5lld x %lld\n", what, static_cast<long long>(size.width),
                        static_cast<long long>(size.height));
        };
        print_size("picture", plan.picture);
        print_size("longest side made 2048", plan.resized);
        print_size("rounded up to whole tiles", plan.canvas);
        std::printf("\n");
        for (Index row = 1; row <= processed.rows; ++row) {
            for (Index col = 1; col <= processed.cols; ++col)
                std::printf("<row_%d_col_%d> ", static_cast<int>(row), static_cast<int>(col));
            std::printf("\n");
        }
        std::printf("<global-img>\n\n");

        // What goes into the vision tower: floats in [-1, 1].
        const HostTensor<float> values = pixel_values(processed, config);
        std::printf("pixel_values %s, the first %.6f\n", join(values.shape()).c_str(), double(values.data()[0]));

        if (argc == 3) {
            save_png(argv[2], draw_contact_sheet({processed}, {argv[1]}));
            std::printf("wrote %s\n", argv[2]);
        }
    } catch (const Error& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 2;
    }
}
